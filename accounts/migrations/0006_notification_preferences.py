"""Every profile has its row of notification preferences, as the older system's diagram says.

Profiles that exist get one with the defaults of the database; those that have one keep it. The
service that makes a profile makes its row from now on.

Lock: none but that of the new rows, one transaction per 1,000 profiles. Stopped midway, the next run
passes over what is there. Back: removes no row, since somebody may have changed one by now.
Breaks: nothing; code of the release before does not read the table.
"""

from typing import Any

from django.db import migrations

from pixsim.core.db.steps import in_sql

BATCH = 1000
FILL = """
WITH batch AS (
    SELECT id FROM profiles WHERE %(after)s::uuid IS NULL OR id > %(after)s::uuid
    ORDER BY id LIMIT %(size)s
), filled AS (
    INSERT INTO notification_preferences (user_id) SELECT id FROM batch
    ON CONFLICT (user_id) DO NOTHING
)
SELECT id FROM batch ORDER BY id DESC LIMIT 1
"""
FILL_ALL = """
INSERT INTO notification_preferences (user_id) SELECT id FROM profiles
ON CONFLICT (user_id) DO NOTHING;
"""


@in_sql(FILL_ALL)
def fill(apps: Any, schema_editor: Any) -> None:
    last = None
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(FILL, {"after": last, "size": BATCH})
            if not (row := cursor.fetchone()):
                return
            last = row[0]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("accounts", "0005_indexes_and_constraints"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
