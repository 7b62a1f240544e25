"""Two permissions: to see and do the system's work, and that of other people.

Without them a member of staff sees their own rows only. They are given to nobody but superusers, who
have every permission: give them to those of the staff who look after everybody's work
(docs/operations.md, "Staff and what they see").

Lock: none; the permissions are rows that `migrate` adds at its end. Back: nothing to do; code of the
release before does not ask for them.
Breaks: staff who are no superusers see their own rows only until they are given the permissions.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_log_in_attempts"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="profile",
            options={
                "permissions": (
                    ("system_work", "Can see and do the system's work, without limits"),
                    ("others_work", "Can see and do the work of other people"),
                )
            },
        ),
    ]
