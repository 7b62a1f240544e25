"""A table of what the attempts of each hour came to, for trends over days, weeks and years.

The sweeper fills it from `work_attempts`, first of all with the attempts that are there. It needs no
backfill, and code from before does not know it.

Lock: none on a table that exists. Back: drops the table; what is older than the attempts that are
kept (30 days) is lost then.
"""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0006_attempts"),
    ]

    operations = [
        migrations.CreateModel(
            name="WorkRollup",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=20)),
                (
                    "hour",
                    models.DateTimeField(
                        help_text="When the hour began; 1970: all that is too old to keep."
                    ),
                ),
                (
                    "counted_until",
                    models.DateTimeField(help_text="What ended later is not counted yet."),
                ),
                ("completed", models.BigIntegerField()),
                ("failed", models.BigIntegerField()),
                ("retries", models.BigIntegerField(help_text="Failed, and tried again.")),
                ("lost", models.BigIntegerField(help_text="The worker died or stalled.")),
                ("given_back", models.BigIntegerField()),
                (
                    "seconds",
                    models.FloatField(
                        help_text="How long the completed and the failed took, in all."
                    ),
                ),
                ("seconds_max", models.FloatField()),
                (
                    "times",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(),
                        help_text="How many of these took up to each of TIME_BOUNDS seconds, and longer.",
                        size=None,
                    ),
                ),
            ],
            options={
                "db_table": "work_rollups",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "hour"), name="uq_work_rollups_kind_hour"
                    )
                ],
            },
        ),
    ]
