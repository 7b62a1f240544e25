"""Projects, crawl jobs and images, as PixCrawler had them before its revision 001.

Lock: new tables only. Back: drops them, with all datasets in them.
"""

import django.db.models.deletion
from django.db import migrations, models

import pixsim.core.db.expressions


class Migration(migrations.Migration):
    initial = True

    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Project",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("description", models.TextField(blank=True, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        db_column="user_id",
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="projects",
                        to="accounts.profile",
                    ),
                ),
                ("status", models.CharField(default="active", max_length=20)),
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
            options={"db_table": "projects"},
        ),
        migrations.CreateModel(
            name="CrawlJob",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="crawl_jobs",
                        to="crawler.project",
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "keywords",
                    models.JSONField(blank=True, default=list, help_text="Class labels."),
                ),
                ("max_images", models.IntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("running", "running"),
                            ("paused", "paused"),
                            ("completed", "completed"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="pending",
                        max_length=20,
                    ),
                ),
                (
                    "progress",
                    models.IntegerField(default=0, help_text="Per cent of max_images, 0 to 100."),
                ),
                ("total_images", models.IntegerField(default=0)),
                ("downloaded_images", models.IntegerField(default=0)),
                ("valid_images", models.IntegerField(default=0)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
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
                ("total_chunks", models.IntegerField(default=0)),
                ("active_chunks", models.IntegerField(default=0)),
                ("completed_chunks", models.IntegerField(default=0)),
                ("failed_chunks", models.IntegerField(default=0)),
                ("task_ids", models.JSONField(blank=True, default=list)),
            ],
            options={"db_table": "crawl_jobs"},
        ),
        migrations.CreateModel(
            name="Image",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "crawl_job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="images",
                        to="crawler.crawljob",
                    ),
                ),
                ("original_url", models.TextField()),
                ("filename", models.CharField(max_length=255)),
                (
                    "storage_url",
                    models.TextField(blank=True, help_text="Key in the blob storage.", null=True),
                ),
                ("width", models.IntegerField(blank=True, null=True)),
                ("height", models.IntegerField(blank=True, null=True)),
                ("file_size", models.IntegerField(blank=True, null=True)),
                ("format", models.CharField(blank=True, max_length=10, null=True)),
            ],
            options={"db_table": "images"},
        ),
    ]
