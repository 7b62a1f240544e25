"""Indexes of the queue, of a job's images and of near duplicates.

Lock: none that blocks; each index is built concurrently. If one is interrupted, run it again: an
invalid index is dropped and built anew. Back: drops them.
"""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models
from django_pg_migration_tools.operations import SaferAddIndexConcurrently

import pixsim.core.db.expressions
import pixsim.core.db.indexes


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("crawler", "0005_image_file_size_64_bit")]

    operations = [
        SaferAddIndexConcurrently(
            model_name="crawljob",
            index=pixsim.core.db.indexes.NamedIndex(
                fields=["project"], name="ix_crawl_jobs_project_id"
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="crawljob",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("status__in", ["pending", "running", "paused"])),
                fields=["status", "created_at"],
                name="ix_crawl_jobs_open",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(fields=["chunk"], name="ix_images_chunk_id"),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("near_duplicate_of__isnull", False)),
                fields=["near_duplicate_of"],
                name="ix_images_near_duplicate_of_id",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(fields=["sha256"], name="ix_images_sha256"),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(
                fields=["crawl_job", "id"], name="ix_images_crawl_job_id"
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(
                django.db.models.expressions.RawSQL(
                    "CASE WHEN near_duplicate_of_id IS NULL"
                    " THEN (crawl_job_id::bigint << 16) | ((phash >> 48) & 65535) END",
                    (),
                ),
                name="ix_images_phash_band_0",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(
                django.db.models.expressions.RawSQL(
                    "CASE WHEN near_duplicate_of_id IS NULL"
                    " THEN (crawl_job_id::bigint << 16) | ((phash >> 32) & 65535) END",
                    (),
                ),
                name="ix_images_phash_band_1",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(
                django.db.models.expressions.RawSQL(
                    "CASE WHEN near_duplicate_of_id IS NULL"
                    " THEN (crawl_job_id::bigint << 16) | ((phash >> 16) & 65535) END",
                    (),
                ),
                name="ix_images_phash_band_2",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=pixsim.core.db.indexes.NamedIndex(
                django.db.models.expressions.RawSQL(
                    "CASE WHEN near_duplicate_of_id IS NULL"
                    " THEN (crawl_job_id::bigint << 16) | ((phash >> 0) & 65535) END",
                    (),
                ),
                name="ix_images_phash_band_3",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=pixsim.core.db.indexes.NamedIndex(
                models.OrderBy(models.F("priority"), descending=True),
                models.F("ready_at"),
                models.F("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "pending")),
                name="ix_job_chunks_claim",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=pixsim.core.db.indexes.NamedIndex(
                models.F("owner"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("created_at"),
                models.F("id"),
                condition=models.Q(
                    ("held", False), ("ready_at__isnull", True), ("status", "pending")
                ),
                name="ix_job_chunks_waiting",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("owner__isnull", False), ("ready_at__isnull", False)),
                fields=["owner"],
                name="ix_job_chunks_window",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("available_at__isnull", False), ("held", True)),
                fields=["available_at"],
                name="ix_job_chunks_available",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="project",
            index=pixsim.core.db.indexes.NamedIndex(fields=["owner"], name="ix_projects_user_id"),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", True), ("status__in", ["completed", "failed"])
                    ),
                    models.Q(("finished_at__isnull", False), ("status", "pending")),
                    _connector="OR",
                ),
                fields=["id"],
                name="ix_job_chunks_unsettled",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("finished_at__isnull", False)),
                fields=["finished_at"],
                name="ix_job_chunks_finished",
            ),
        ),
    ]
