"""Indexes and constraints of the queue on jobs; an asset's bytes are unique per owner.

A user's idempotency key makes one job. The unique index on `assets.sha256` gives way to one on user
and hash, which is there before the older one goes; thumbnails are found by hash.

Lock: none that blocks for long. Indexes are built concurrently, and those of unique constraints
then attached; checks and the foreign key are added NOT VALID and validated while others write.
Stopped midway, it goes on where it was. Back: drops all of it; the older unique index on
`assets.sha256` comes back, and fails, naming the hash, if two owners have the same file by then.
"""

from django.db import migrations, models
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
        ("jobs", "0007_params_source_valid"),
        ("jobs", "0010_work_indexes"),
        ("jobs", "0011_assets_per_owner"),
    ]

    dependencies = [
        ("accounts", "0003_columns"),
        ("jobs", "0004_wide_file_sizes"),
    ]

    operations = [
        SaferAddIndexConcurrently(
            model_name="job",
            index=NamedIndex(
                models.F("provider_id"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("ready_at"),
                models.F("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "pending")),
                name="ix_jobs_claim",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=NamedIndex(
                models.F("owner"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("created_at"),
                models.F("id"),
                condition=models.Q(
                    ("held", False), ("ready_at__isnull", True), ("status", "pending")
                ),
                name="ix_jobs_waiting",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=NamedIndex(
                condition=models.Q(("owner__isnull", False), ("ready_at__isnull", False)),
                fields=["owner"],
                name="ix_jobs_window",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=NamedIndex(
                condition=models.Q(("available_at__isnull", False), ("held", True)),
                fields=["available_at"],
                name="ix_jobs_available",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=NamedIndex(
                condition=models.Q(
                    models.Q(
                        ("completed_at__isnull", True),
                        ("status__in", ["completed", "failed", "cancelled"]),
                    ),
                    models.Q(("completed_at__isnull", False), ("status", "pending")),
                    _connector="OR",
                ),
                fields=["id"],
                name="ix_jobs_unsettled",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=NamedIndex(
                condition=models.Q(("completed_at__isnull", False)),
                fields=["completed_at"],
                name="ix_jobs_finished",
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                fields=("user", "idempotency_key"), name="uq_jobs_user_idempotency_key"
            ),
        ),
        SaferAddCheckConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                name="ck_jobs_params_source_valid",
                condition=models.Q(params_source__in=["payload"]),
            ),
        ),
        SaferAddCheckConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("held", False), ("ready_at__isnull", True), _connector="OR"),
                name="ck_jobs_held_not_ready",
            ),
        ),
        AddForeignKey(
            table="jobs",
            column="owner_id",
            to="profiles",
            name="jobs_owner_id_fkey",
            on_delete="SET NULL",
        ),
        SaferAddUniqueConstraint(
            model_name="asset",
            constraint=models.UniqueConstraint(
                fields=("user", "sha256"), name="uq_assets_user_sha256"
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="asset",
            index=NamedIndex(
                condition=models.Q(("thumbnail_sha256__isnull", False)),
                fields=["thumbnail_sha256"],
                name="ix_assets_thumbnail_sha256",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "DROP INDEX CONCURRENTLY IF EXISTS ix_assets_sha256",
                    "CREATE UNIQUE INDEX CONCURRENTLY ix_assets_sha256 ON assets (sha256)",
                )
            ],
            state_operations=[
                migrations.RemoveConstraint(model_name="asset", name="ix_assets_sha256")
            ],
        ),
        SaferAddIndexConcurrently(
            model_name="asset",
            index=NamedIndex(fields=["sha256"], name="ix_assets_sha256"),
        ),
    ]
