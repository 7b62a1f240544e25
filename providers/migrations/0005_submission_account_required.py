"""A submission always has an account; with 0003 and 0004 this is PixSim7's daa977a0bfa9.

The foreign key does not cascade: an account with history cannot be deleted, only disabled.

Lock: each step commits by itself, and what reads the whole table blocks nobody. A CHECK, not
validated at first, refuses new rows without an account; rows that came in since 0004 are filled;
the CHECK is validated; thanks to it SET NOT NULL reads nothing and holds ACCESS EXCLUSIVE for a
moment only; the index is built concurrently; the foreign key is validated after it was added.
It may be stopped at any time: every step can be repeated.
Back: the same undone, with locks for a moment only.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models

from pixsim.core.db.backfill import migration_step
from pixsim.core.db.indexes import NamedIndex
from pixsim.core.db.operations import AddForeignKey
from providers.backfills import FILL_ACCOUNTS_SQL, fill_accounts

TABLE = "provider_submissions"
CHECK = "ck_provider_submissions_account_required"
INDEX = "ix_provider_submissions_account_id"
FOREIGN_KEY = "fk_provider_submissions_account_id"


def sql(statement: str) -> migrations.RunSQL:
    """Return a step that exists only on the way forward."""
    return migrations.RunSQL(statement, migrations.RunSQL.noop)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("providers", "0004_submission_account_backfill")]

    operations = [
        sql(
            f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {CHECK}; "
            f"ALTER TABLE {TABLE} ADD CONSTRAINT {CHECK} "
            "CHECK (account_id IS NOT NULL AND account_source IS NOT NULL) NOT VALID"
        ),
        migrations.RunPython(
            migration_step(fill_accounts, sql=FILL_ACCOUNTS_SQL), migrations.RunPython.noop
        ),
        sql(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {CHECK}"),
        ValidateConstraint("providersubmission", "ck_provider_submissions_account_source_valid"),
        migrations.AlterField(
            model_name="providersubmission",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=models.PROTECT,
                related_name="submissions",
                to="providers.provideraccount",
            ),
        ),
        migrations.AlterField(
            model_name="providersubmission",
            name="account_source",
            field=models.CharField(
                choices=[("recorded", "recorded"), ("backfill", "guessed by the backfill")],
                db_default="recorded",
                max_length=20,
            ),
        ),
        sql(f"ALTER TABLE {TABLE} DROP CONSTRAINT {CHECK}"),
        sql(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}"),
        AddIndexConcurrently("providersubmission", NamedIndex(fields=["account"], name=INDEX)),
        sql(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {FOREIGN_KEY}"),
        AddForeignKey(table=TABLE, column="account_id", to="provider_accounts", name=FOREIGN_KEY),
    ]
