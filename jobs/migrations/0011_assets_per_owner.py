"""An asset's bytes are unique per owner, no longer among all owners; thumbnails are found by hash.

Lock: an instant of ACCESS EXCLUSIVE on assets for the column; the indexes are built concurrently,
the new ones before the old one goes. Back: the older unique index comes back, and fails, naming the
hash, if two owners have the same file by then.
"""

from django.db import migrations, models
from django_pg_migration_tools.operations import SaferAddIndexConcurrently, SaferAddUniqueConstraint

import pixsim.core.db.indexes


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0010_work_indexes")]

    operations = [
        migrations.AddField(
            model_name="asset",
            name="thumbnail_sha256",
            field=models.CharField(blank=True, editable=False, max_length=64, null=True),
        ),
        SaferAddUniqueConstraint(
            model_name="asset",
            constraint=models.UniqueConstraint(
                fields=("user", "sha256"), name="uq_assets_user_sha256"
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="asset",
            index=pixsim.core.db.indexes.NamedIndex(
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
            index=pixsim.core.db.indexes.NamedIndex(fields=["sha256"], name="ix_assets_sha256"),
        ),
    ]
