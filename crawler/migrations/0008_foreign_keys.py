"""Foreign keys that cascade in the database: deleting a crawl job deletes everything under it.

Lock: SHARE ROW EXCLUSIVE on both tables for an instant each (NOT VALID); validation blocks
nobody. Fails, naming the key, if a row refers to nothing. Back: drops the keys.
"""

from django.db import migrations

from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("crawler", "0007_constraints")]

    operations = [
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
