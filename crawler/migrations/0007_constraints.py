"""Slots, hashes and chunk numbers are unique within a job; priorities and holds are valid.

Lock: unique indexes are built concurrently and then attached; checks are added NOT VALID and
validated, which blocks nobody. Fails, naming the key, if rows break a constraint: mend them and
run it again. Back: drops the constraints.
"""

from django.db import migrations, models
from django_pg_migration_tools.operations import SaferAddCheckConstraint, SaferAddUniqueConstraint


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("crawler", "0006_indexes")]

    operations = [
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
    ]
