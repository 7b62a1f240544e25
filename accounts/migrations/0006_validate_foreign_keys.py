"""Prove the foreign keys of 0005 for the rows that were there before.

Rows that point at a profile or account that does not exist are counted first; the migration then
stops with their numbers and changes nothing. Give such rows an owner or remove them, and migrate
again; until then the keys already hold for new rows.

Lock: SHARE UPDATE EXCLUSIVE on each table, as long as it takes to read it; reading and writing go
on. Back: nothing to undo, 0005 drops the keys.
"""

from typing import Any

from django.db import migrations

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
    dependencies = [("accounts", "0005_foreign_keys")]

    operations = [
        migrations.RunPython(refuse_dangling_rows, migrations.RunPython.noop),
        *[
            migrations.RunSQL(
                f"ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{column}_fkey",
                migrations.RunSQL.noop,
            )
            for table, column, _ in KEYS
        ],
    ]
