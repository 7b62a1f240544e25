"""Workspaces, assets and jobs, as PixSim7 had them at revision 7425b92ac62e.

Enumerations are varchars in lower case with CHECKs, and a higher priority is more urgent. Assets
and jobs refer to each other: `assets.source_job_id` is made as a plain integer and becomes the
foreign key, which changes nothing in the database, once the jobs exist.

Lock: new tables only; the foreign keys take a short lock on auth_user and provider_accounts.
Back: drops the three tables with everything in them.
"""

from django.conf import settings
from django.db import migrations, models

from pixsim.core.db.indexes import NamedIndex
from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("providers", "0001_accounts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Workspace",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="workspaces",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                ("description", models.CharField(blank=True, null=True)),
                ("color", models.CharField(blank=True, max_length=7, null=True)),
                ("icon", models.CharField(blank=True, max_length=50, null=True)),
                (
                    "parent_workspace",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="children",
                        to="jobs.workspace",
                    ),
                ),
                ("tags", models.JSONField(blank=True, null=True)),
                ("is_archived", models.BooleanField()),
                ("is_template", models.BooleanField()),
                ("is_public", models.BooleanField()),
                ("total_jobs", models.IntegerField()),
                ("total_assets", models.IntegerField()),
                ("total_scenes", models.IntegerField()),
                ("settings", models.JSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField(editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("last_activity_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "workspaces",
                "indexes": [
                    NamedIndex(fields=["is_archived"], name="ix_workspaces_is_archived"),
                    NamedIndex(
                        fields=["parent_workspace"], name="ix_workspaces_parent_workspace_id"
                    ),
                    NamedIndex(fields=["user"], name="ix_workspaces_user_id"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Asset",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="assets",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("sha256", models.CharField(blank=True, max_length=64, null=True)),
                (
                    "media_type",
                    models.CharField(
                        choices=[
                            ("video", "video"),
                            ("image", "image"),
                            ("audio", "audio"),
                            ("model_3d", "3D model"),
                        ],
                        max_length=20,
                    ),
                ),
                ("provider_id", models.CharField(max_length=64)),
                ("provider_asset_id", models.CharField(max_length=128)),
                (
                    "provider_account",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="assets",
                        to="providers.provideraccount",
                    ),
                ),
                (
                    "provider_uploads",
                    models.JSONField(
                        blank=True,
                        help_text="The file's id at other providers, by provider.",
                        null=True,
                    ),
                ),
                ("remote_url", models.CharField()),
                ("thumbnail_url", models.CharField(blank=True, null=True)),
                ("local_path", models.CharField(blank=True, max_length=512, null=True)),
                ("mime_type", models.CharField(blank=True, max_length=64, null=True)),
                ("width", models.IntegerField(blank=True, null=True)),
                ("height", models.IntegerField(blank=True, null=True)),
                ("duration_sec", models.FloatField(blank=True, null=True)),
                ("file_size_bytes", models.IntegerField(blank=True, null=True)),
                ("fps", models.FloatField(blank=True, null=True)),
                ("image_hash", models.CharField(blank=True, max_length=64, null=True)),
                (
                    "phash64",
                    models.BigIntegerField(
                        blank=True,
                        help_text="64-bit perceptual hash, as signed integer.",
                        null=True,
                    ),
                ),
                ("description", models.CharField(blank=True, null=True)),
                ("tags", models.JSONField(blank=True, null=True)),
                ("style_tags", models.JSONField(blank=True, null=True)),
                (
                    "content_domain",
                    models.CharField(
                        choices=[
                            ("general", "general"),
                            ("adult", "adult"),
                            ("medical", "medical"),
                            ("sports", "sports"),
                            ("fashion", "fashion"),
                            ("education", "education"),
                        ],
                        max_length=20,
                    ),
                ),
                ("content_category", models.CharField(blank=True, max_length=64, null=True)),
                ("content_taxonomy", models.JSONField(blank=True, null=True)),
                ("content_rating", models.CharField(max_length=32)),
                ("age_restricted", models.BooleanField()),
                ("searchable", models.BooleanField()),
                ("original_source_url", models.CharField(blank=True, null=True)),
                ("upload_method", models.CharField(blank=True, max_length=32, null=True)),
                ("media_metadata", models.JSONField(blank=True, null=True)),
                (
                    "sync_status",
                    models.CharField(
                        choices=[
                            ("remote", "at the provider"),
                            ("downloading", "downloading"),
                            ("downloaded", "here"),
                            ("error", "error"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "source_job",
                    models.IntegerField(blank=True, db_column="source_job_id", null=True),
                ),
                ("created_at", models.DateTimeField(editable=False)),
                ("downloaded_at", models.DateTimeField(blank=True, null=True)),
                ("last_accessed_at", models.DateTimeField()),
            ],
            options={
                "db_table": "assets",
                "indexes": [
                    NamedIndex(
                        fields=["provider_id", "provider_asset_id"],
                        name="idx_asset_provider_lookup",
                    ),
                    NamedIndex(fields=["sync_status", "media_type"], name="idx_asset_sync_media"),
                    NamedIndex(fields=["user", "created_at"], name="idx_asset_user_created"),
                    NamedIndex(fields=["age_restricted"], name="ix_assets_age_restricted"),
                    NamedIndex(fields=["content_category"], name="ix_assets_content_category"),
                    NamedIndex(fields=["content_domain"], name="ix_assets_content_domain"),
                    NamedIndex(fields=["content_rating"], name="ix_assets_content_rating"),
                    NamedIndex(fields=["created_at"], name="ix_assets_created_at"),
                    NamedIndex(fields=["image_hash"], name="ix_assets_image_hash"),
                    NamedIndex(fields=["last_accessed_at"], name="ix_assets_last_accessed_at"),
                    NamedIndex(fields=["phash64"], name="ix_assets_phash64"),
                    NamedIndex(fields=["provider_account"], name="ix_assets_provider_account_id"),
                    NamedIndex(fields=["provider_asset_id"], name="ix_assets_provider_asset_id"),
                    NamedIndex(fields=["provider_id"], name="ix_assets_provider_id"),
                    NamedIndex(fields=["searchable"], name="ix_assets_searchable"),
                    NamedIndex(fields=["source_job"], name="ix_assets_source_job_id"),
                    NamedIndex(fields=["sync_status"], name="ix_assets_sync_status"),
                    NamedIndex(fields=["user"], name="ix_assets_user_id"),
                ],
                "constraints": [
                    models.UniqueConstraint(models.F("sha256"), name="ix_assets_sha256"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("media_type__in", ["video", "image", "audio", "model_3d"])
                        ),
                        name="ck_assets_media_type_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "content_domain__in",
                                ["general", "adult", "medical", "sports", "fashion", "education"],
                            )
                        ),
                        name="ck_assets_content_domain_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("sync_status__in", ["remote", "downloading", "downloaded", "error"])
                        ),
                        name="ck_assets_sync_status_valid",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="jobs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "operation_type",
                    models.CharField(
                        choices=[
                            ("text_to_image", "text to image"),
                            ("image_to_image", "image to image"),
                            ("text_to_video", "text to video"),
                            ("image_to_video", "image to video"),
                            ("video_extend", "extend a video"),
                            ("video_transition", "video transition"),
                            ("fusion", "fusion"),
                            ("song", "song"),
                        ],
                        max_length=32,
                    ),
                ),
                ("provider_id", models.CharField(max_length=50)),
                (
                    "workspace",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="jobs",
                        to="jobs.workspace",
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=255, null=True)),
                ("description", models.CharField(blank=True, null=True)),
                ("priority", models.IntegerField(help_text="0 to 10; higher is more urgent.")),
                (
                    "scheduled_at",
                    models.DateTimeField(blank=True, help_text="Not before this time.", null=True),
                ),
                (
                    "parent_job",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="children",
                        to="jobs.job",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("processing", "processing"),
                            ("completed", "completed"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        max_length=20,
                    ),
                ),
                ("error_message", models.CharField(blank=True, null=True)),
                ("retry_count", models.IntegerField()),
                (
                    "asset",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        help_text="What it made.",
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="+",
                        to="jobs.asset",
                    ),
                ),
                ("created_at", models.DateTimeField(editable=False)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "jobs",
                "indexes": [
                    NamedIndex(fields=["priority", "created_at"], name="idx_job_priority_created"),
                    NamedIndex(fields=["status", "created_at"], name="idx_job_status_created"),
                    NamedIndex(
                        fields=["user", "status", "created_at"], name="idx_job_user_status_created"
                    ),
                    NamedIndex(fields=["workspace", "created_at"], name="idx_job_workspace"),
                    NamedIndex(fields=["asset"], name="ix_jobs_asset_id"),
                    NamedIndex(fields=["created_at"], name="ix_jobs_created_at"),
                    NamedIndex(fields=["parent_job"], name="ix_jobs_parent_job_id"),
                    NamedIndex(fields=["priority"], name="ix_jobs_priority"),
                    NamedIndex(fields=["provider_id"], name="ix_jobs_provider_id"),
                    NamedIndex(fields=["scheduled_at"], name="ix_jobs_scheduled_at"),
                    NamedIndex(fields=["status"], name="ix_jobs_status"),
                    NamedIndex(fields=["user"], name="ix_jobs_user_id"),
                    NamedIndex(fields=["workspace"], name="ix_jobs_workspace_id"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "operation_type__in",
                                [
                                    "text_to_image",
                                    "image_to_image",
                                    "text_to_video",
                                    "image_to_video",
                                    "video_extend",
                                    "video_transition",
                                    "fusion",
                                    "song",
                                ],
                            )
                        ),
                        name="ck_jobs_operation_type_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                ["pending", "processing", "completed", "failed", "cancelled"],
                            )
                        ),
                        name="ck_jobs_status_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("priority__gte", 0), ("priority__lte", 10)),
                        name="ck_jobs_priority_range",
                    ),
                ],
            },
        ),
        migrations.AlterField(
            model_name="asset",
            name="source_job",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=models.SET_NULL,
                related_name="made_assets",
                to="jobs.job",
            ),
        ),
        AddForeignKey(
            table="workspaces",
            column="parent_workspace_id",
            to="workspaces",
            name="workspaces_parent_workspace_id_fkey",
        ),
        AddForeignKey(
            table="workspaces", column="user_id", to="auth_user", name="workspaces_user_id_fkey"
        ),
        AddForeignKey(
            table="assets",
            column="provider_account_id",
            to="provider_accounts",
            name="assets_provider_account_id_fkey",
        ),
        AddForeignKey(
            table="assets", column="source_job_id", to="jobs", name="assets_source_job_id_fkey"
        ),
        AddForeignKey(table="assets", column="user_id", to="auth_user", name="assets_user_id_fkey"),
        AddForeignKey(table="jobs", column="asset_id", to="assets", name="jobs_asset_id_fkey"),
        AddForeignKey(
            table="jobs", column="parent_job_id", to="jobs", name="jobs_parent_job_id_fkey"
        ),
        AddForeignKey(table="jobs", column="user_id", to="auth_user", name="jobs_user_id_fkey"),
        AddForeignKey(
            table="jobs", column="workspace_id", to="workspaces", name="jobs_workspace_id_fkey"
        ),
    ]
