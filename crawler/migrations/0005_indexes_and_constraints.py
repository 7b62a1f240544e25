"""Indexes of the queue, of images and near duplicates; unique slots and hashes; cascading foreign keys.

Slots, hashes and chunk numbers are unique within a job. Deleting a crawl job deletes everything
under it, in the database.

Lock: none that blocks for long. Indexes are built concurrently, and those of unique constraints
then attached; checks and foreign keys are added NOT VALID (an instant, a key on both tables) and
validated while others write. Fails, naming the constraint, if a row breaks one: mend the row and
migrate again, which goes on where it was. Back: drops all of it.
"""

from django.db import migrations, models
from django.db.models.expressions import RawSQL
from django_pg_migration_tools.operations import (
    SaferAddCheckConstraint,
    SaferAddIndexConcurrently,
    SaferAddUniqueConstraint,
)

from pixsim.core.db.indexes import NamedIndex
from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    atomic = False

    replaces = [
        ("crawler", "0006_indexes"),
        ("crawler", "0007_constraints"),
        ("crawler", "0008_foreign_keys"),
    ]

    dependencies = [
        ("crawler", "0004_wide_file_sizes"),
    ]

    operations = [
        SaferAddIndexConcurrently(
            model_name="crawljob",
            index=NamedIndex(fields=["project"], name="ix_crawl_jobs_project_id"),
        ),
        SaferAddIndexConcurrently(
            model_name="crawljob",
            index=NamedIndex(
                condition=models.Q(("status__in", ["pending", "running", "paused"])),
                fields=["status", "created_at"],
                name="ix_crawl_jobs_open",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=NamedIndex(fields=["chunk"], name="ix_images_chunk_id"),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=NamedIndex(
                condition=models.Q(("near_duplicate_of__isnull", False)),
                fields=["near_duplicate_of"],
                name="ix_images_near_duplicate_of_id",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=NamedIndex(fields=["sha256"], name="ix_images_sha256"),
        ),
        SaferAddIndexConcurrently(
            model_name="image",
            index=NamedIndex(fields=["crawl_job", "id"], name="ix_images_crawl_job_id"),
        ),
        *[
            SaferAddIndexConcurrently(
                model_name="image",
                index=NamedIndex(
                    RawSQL(  # noqa: S611
                        "CASE WHEN near_duplicate_of_id IS NULL THEN (crawl_job_id::bigint << 16)"
                        f" | ((phash >> {48 - 16 * band}) & 65535) END",
                        (),
                    ),
                    name=f"ix_images_phash_band_{band}",
                ),
            )
            for band in range(4)
        ],
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=NamedIndex(
                models.OrderBy(models.F("priority"), descending=True),
                models.F("ready_at"),
                models.F("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "pending")),
                name="ix_job_chunks_claim",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=NamedIndex(
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
            index=NamedIndex(
                condition=models.Q(("owner__isnull", False), ("ready_at__isnull", False)),
                fields=["owner"],
                name="ix_job_chunks_window",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=NamedIndex(
                condition=models.Q(("available_at__isnull", False), ("held", True)),
                fields=["available_at"],
                name="ix_job_chunks_available",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="project",
            index=NamedIndex(fields=["owner"], name="ix_projects_user_id"),
        ),
        SaferAddIndexConcurrently(
            model_name="jobchunk",
            index=NamedIndex(
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
            index=NamedIndex(
                condition=models.Q(("finished_at__isnull", False)),
                fields=["finished_at"],
                name="ix_job_chunks_finished",
            ),
        ),
        SaferAddCheckConstraint(
            model_name="crawljob",
            constraint=models.CheckConstraint(
                condition=models.Q(("priority__gte", 0), ("priority__lte", 10)),
                name="ck_crawl_jobs_priority_range",
            ),
        ),
        SaferAddCheckConstraint(
            model_name="crawljob",
            constraint=models.CheckConstraint(
                condition=models.Q(("chunk_size__gte", 1)), name="ck_crawl_jobs_chunk_size_positive"
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="image",
            constraint=models.UniqueConstraint(
                fields=("crawl_job", "sha256"), name="uq_images_job_sha256"
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="image",
            constraint=models.UniqueConstraint(
                fields=("crawl_job", "image_index"), name="uq_images_job_index"
            ),
        ),
        SaferAddCheckConstraint(
            model_name="jobchunk",
            constraint=models.CheckConstraint(
                condition=models.Q(("held", False), ("ready_at__isnull", True), _connector="OR"),
                name="ck_job_chunks_held_not_ready",
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="jobchunk",
            constraint=models.UniqueConstraint(
                fields=("job", "chunk_index"), name="uq_job_chunks_job_index"
            ),
        ),
        AddForeignKey(
            table="projects",
            column="user_id",
            to="profiles",
            name="projects_user_id_fkey",
            on_delete="CASCADE",
        ),
        AddForeignKey(
            table="crawl_jobs",
            column="project_id",
            to="projects",
            name="crawl_jobs_project_id_fkey",
            on_delete="CASCADE",
        ),
        AddForeignKey(
            table="images",
            column="crawl_job_id",
            to="crawl_jobs",
            name="images_crawl_job_id_fkey",
            on_delete="CASCADE",
        ),
        AddForeignKey(
            table="images",
            column="chunk_id",
            to="job_chunks",
            name="images_chunk_id_fkey",
            on_delete="SET NULL",
        ),
        AddForeignKey(
            table="images",
            column="near_duplicate_of_id",
            to="images",
            name="images_near_duplicate_of_id_fkey",
            on_delete="SET NULL",
        ),
        AddForeignKey(
            table="job_chunks",
            column="owner_id",
            to="profiles",
            name="job_chunks_owner_id_fkey",
            on_delete="CASCADE",
        ),
        AddForeignKey(
            table="crawl_sources",
            column="job_id",
            to="crawl_jobs",
            name="crawl_sources_job_id_fkey",
            on_delete="CASCADE",
        ),
        AddForeignKey(
            table="crawl_sources",
            column="owner_id",
            to="profiles",
            name="crawl_sources_owner_id_fkey",
            on_delete="CASCADE",
        ),
        AddForeignKey(
            table="candidates",
            column="job_id",
            to="crawl_jobs",
            name="candidates_job_id_fkey",
            on_delete="CASCADE",
        ),
        AddForeignKey(
            table="candidates",
            column="chunk_id",
            to="job_chunks",
            name="candidates_chunk_id_fkey",
            on_delete="SET NULL",
        ),
    ]
