"""Job chunks, as PixCrawler's revision 001 makes them: five indexes, three checks.

Lock: a new table; the foreign key takes a short SHARE ROW EXCLUSIVE lock on crawl_jobs.
Back: drops the table.
"""

import django.db.models.deletion
from django.db import migrations, models

import pixsim.core.db.expressions
import pixsim.core.db.indexes
from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    dependencies = [("crawler", "0001_datasets")]

    operations = [
        migrations.CreateModel(
            name="JobChunk",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chunks",
                        to="crawler.crawljob",
                    ),
                ),
                ("chunk_index", models.IntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("processing", "processing"),
                            ("completed", "completed"),
                            ("failed", "failed"),
                        ],
                        db_default="pending",
                        max_length=20,
                    ),
                ),
                (
                    "priority",
                    models.IntegerField(db_default=5, help_text="0 to 10; higher is more urgent."),
                ),
                (
                    "image_range",
                    models.JSONField(help_text='{"start": s, "end": e}: indices s to e-1.'),
                ),
                ("error_message", models.TextField(blank=True, null=True)),
                ("retry_count", models.IntegerField(db_default=0)),
                (
                    "task_id",
                    models.CharField(
                        blank=True,
                        help_text="The Celery task that holds, or last held, the row.",
                        max_length=255,
                        null=True,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=pixsim.core.db.expressions.TransactionNow(), editable=False
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True, db_default=pixsim.core.db.expressions.TransactionNow()
                    ),
                ),
            ],
            options={
                "db_table": "job_chunks",
                "indexes": [
                    pixsim.core.db.indexes.NamedIndex(fields=["job"], name="ix_job_chunks_job_id"),
                    pixsim.core.db.indexes.NamedIndex(
                        fields=["status"], name="ix_job_chunks_status"
                    ),
                    pixsim.core.db.indexes.NamedIndex(
                        fields=["job", "status"], name="ix_job_chunks_job_status"
                    ),
                    pixsim.core.db.indexes.NamedIndex(
                        fields=["priority", "created_at"], name="ix_job_chunks_priority_created"
                    ),
                    pixsim.core.db.indexes.NamedIndex(
                        fields=["task_id"], name="ix_job_chunks_task_id"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "processing", "completed", "failed"])
                        ),
                        name="ck_job_chunks_status_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("priority__gte", 0), ("priority__lte", 10)),
                        name="ck_job_chunks_priority_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("retry_count__gte", 0)),
                        name="ck_job_chunks_retry_count_positive",
                    ),
                ],
            },
        ),
        AddForeignKey(
            table="job_chunks",
            column="job_id",
            to="crawl_jobs",
            name="job_chunks_job_id_fkey",
            on_delete="CASCADE",
        ),
    ]
