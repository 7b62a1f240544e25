"""A table of log-ins that failed or go on, by which all web processes together throttle guessing.

Empty at first; what counts no more is deleted as others are written, so it stays small.

Lock: none on a table that exists. Back: drops the table; failures are then counted anew.
Breaks: nothing; code of the release before does not know it.
"""

from django.db import migrations, models

import pixsim.core.db.indexes


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_credit_references_of_each_owner"),
    ]

    operations = [
        migrations.CreateModel(
            name="LogInAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "account",
                    models.CharField(
                        help_text="A keyed hash of the name that was typed.", max_length=64
                    ),
                ),
                (
                    "address",
                    models.CharField(
                        help_text="An IPv4 address, or the /64 network of an IPv6 one.",
                        max_length=50,
                    ),
                ),
                ("at", models.DateTimeField()),
                ("has_succeeded", models.BooleanField(db_default=False)),
            ],
            options={
                "db_table": "log_in_attempts",
                "indexes": [
                    pixsim.core.db.indexes.NamedIndex(
                        fields=["account", "at"], name="ix_log_in_attempts_account_at"
                    ),
                    pixsim.core.db.indexes.NamedIndex(
                        fields=["address", "at"], name="ix_log_in_attempts_address_at"
                    ),
                    pixsim.core.db.indexes.NamedIndex(
                        condition=models.Q(("has_succeeded", False)),
                        fields=["at"],
                        name="ix_log_in_attempts_failed_at",
                    ),
                ],
            },
        ),
    ]
