"""Indexes of the activity log, unique references and holds, and foreign keys that act in the database.

A person's rows go with the person; the log of what was done stays. The older system had no foreign
keys, so rows may refer to nothing: they are counted first, and the migration then stops with their
numbers and has changed nothing. Give such rows an owner or remove them, and migrate again.

Lock: none that blocks for long. Indexes are built concurrently, and those of unique constraints
then attached; a foreign key takes SHARE ROW EXCLUSIVE on both tables for an instant (NOT VALID), and
validation reads while others write. Stopped midway, it goes on where it was. Back: drops all of it.
"""

from typing import Any

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models
from django.db.models import Q
from django_pg_migration_tools.operations import SaferAddIndexConcurrently, SaferAddUniqueConstraint

from pixsim.core.db.indexes import NamedIndex
from pixsim.core.db.operations import AddForeignKey
from pixsim.core.db.steps import in_sql

KEYS = (
    ("credit_accounts", "user_id", "profiles"),
    ("credit_transactions", "user_id", "profiles"),
    ("credit_transactions", "account_id", "credit_accounts"),
    ("notifications", "user_id", "profiles"),
    ("notification_preferences", "user_id", "profiles"),
    ("api_keys", "user_id", "profiles"),
    ("usage_metrics", "user_id", "profiles"),
    ("activity_logs", "user_id", "profiles"),
)
DANGLING = """
WITH dangling AS MATERIALIZED (
    SELECT r.id FROM {table} AS r
     WHERE {column} IS NOT NULL AND NOT EXISTS (SELECT FROM {to} AS t WHERE t.id = r.{column}))
SELECT count(*),
       (SELECT string_agg(id::text, ', ')
          FROM (SELECT id FROM dangling ORDER BY id LIMIT 5) AS first)
  FROM dangling
"""


@in_sql()  # VALIDATE finds the same rows, one table at a time
def refuse_dangling_rows(apps: Any, schema_editor: Any) -> None:
    found = []
    with schema_editor.connection.cursor() as cursor:
        for table, column, to in KEYS:
            cursor.execute(DANGLING.format(table=table, column=column, to=to))
            count, sample = cursor.fetchone()
            if count:
                found.append(f"{count} rows of {table} ({column} not in {to}), ids {sample}")
    if found:
        raise ValueError(
            "Rows that belong to nobody, nothing was changed: "
            + "; ".join(found)
            + ". Give them an owner or remove them, then run migrate again."
        )


class Migration(migrations.Migration):
    atomic = False

    replaces = [
        ("accounts", "0005_foreign_keys"),
        ("accounts", "0006_validate_foreign_keys"),
        ("accounts", "0010_activity_by_person"),
        ("accounts", "0012_ledger_unique"),
        ("accounts", "0013_activity_by_resource"),
    ]

    dependencies = [
        ("accounts", "0004_profile_for_every_user"),
    ]

    operations = [
        migrations.RunPython(refuse_dangling_rows, migrations.RunPython.noop),
        SaferAddIndexConcurrently(
            model_name="activitylog",
            index=NamedIndex(fields=["user", "timestamp"], name="ix_activity_logs_user_timestamp"),
        ),
        SaferAddIndexConcurrently(
            model_name="activitylog",
            index=NamedIndex(
                fields=["resource_type", "resource_id"],
                name="ix_activity_logs_resource",
                condition=Q(resource_id__isnull=False),
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="credittransaction",
            constraint=models.UniqueConstraint(
                fields=("reference",), name="uq_credit_transactions_reference"
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="credittransaction",
            constraint=models.UniqueConstraint(
                fields=("closes",), name="uq_credit_transactions_settles"
            ),
        ),
        ValidateConstraint("credittransaction", "ck_credit_transactions_type_valid"),
        AddForeignKey(
            table="profiles",
            column="user_id",
            to="auth_user",
            name="profiles_user_id_fkey",
            on_delete="SET NULL",
        ),
        *[
            AddForeignKey(
                table=table,
                column=column,
                to=to,
                name=f"{table}_{column}_fkey",
                on_delete="SET NULL" if table == "activity_logs" else "CASCADE",
            )
            for table, column, to in KEYS
        ],
        AddForeignKey(
            table="credit_transactions",
            column="settles_id",
            to="credit_transactions",
            name="credit_transactions_settles_id_fkey",
        ),
    ]
