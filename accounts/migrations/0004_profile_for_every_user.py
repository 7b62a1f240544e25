"""One log-in has one profile, and every user that exists gets one.

A profile without a log-in and with exactly the user's e-mail becomes that user's: at this point
nobody can have signed up to claim it. Other users get a new profile, with the fallback e-mail
`user<id>@users.invalid` if theirs is empty or belongs to another profile; of several users with
one e-mail the oldest gets it.

Lock: the unique index is built concurrently and then attached (ACCESS EXCLUSIVE on profiles for an
instant); rows only after that, one transaction per 1,000 users. Stopped midway, it goes on where it
was. Back: drops the unique constraint; no profile is removed, since profiles may own work by now.
Going forward again finds them by e-mail.
"""

from typing import Any

from django.db import migrations

from pixsim.core.db.steps import in_sql

BATCH = 1000
BEFORE_ALL = -(2**31) - 1
"""Older than any key: a system that was adopted may have keys below 1."""

UNIQUE = "profiles_user_id_key"

# The users of one batch that have no profile, under the e-mail that the pass gives them.
FILL = """
INSERT INTO profiles (id, email, full_name, role, user_id)
SELECT DISTINCT ON (email) gen_random_uuid(), email, full_name, role, id
  FROM (SELECT id, {email} AS email,
               NULLIF(left(btrim(first_name || ' ' || last_name), 100), '') AS full_name,
               CASE WHEN is_superuser THEN 'admin' ELSE 'user' END AS role
          FROM auth_user AS u
         WHERE id > %(after)s AND id <= %(upto)s AND {condition}
           AND NOT EXISTS (SELECT FROM profiles WHERE user_id = u.id)) AS missing
 ORDER BY email, id
    ON CONFLICT (email) DO UPDATE SET user_id = EXCLUDED.user_id WHERE profiles.user_id IS NULL
"""
PASSES = (
    FILL.format(email="email", condition="email <> '' AND email NOT LIKE '%%@users.invalid'"),
    FILL.format(email="'user' || id || '@users.invalid'", condition="true"),
)
EVERYBODY = {"after": BEFORE_ALL, "upto": 2**31 - 1}


@in_sql(*(f"{statement % EVERYBODY};" for statement in PASSES))
def fill(apps: Any, schema_editor: Any) -> None:
    users = apps.get_model("auth", "User").objects.using(schema_editor.connection.alias)
    keys = users.order_by("pk").values_list("pk", flat=True)
    after = BEFORE_ALL
    while batch := list(keys.filter(pk__gt=after)[:BATCH]):
        with schema_editor.connection.cursor() as cursor:
            for statement in PASSES:
                cursor.execute(statement, {"after": after, "upto": batch[-1]})
        after = batch[-1]


class Migration(migrations.Migration):
    atomic = False

    replaces = [
        ("accounts", "0004_profiles_for_users"),
    ]

    dependencies = [
        ("accounts", "0003_columns"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RunSQL(
            f"CREATE UNIQUE INDEX CONCURRENTLY {UNIQUE} ON profiles (user_id)",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(
            f"ALTER TABLE profiles ADD CONSTRAINT {UNIQUE} UNIQUE USING INDEX {UNIQUE}",
            f"ALTER TABLE profiles DROP CONSTRAINT {UNIQUE}",
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
