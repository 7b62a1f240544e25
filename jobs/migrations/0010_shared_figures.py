"""A table for figures that pages show, computed by one process for all who look at them.

The status page asked some 76 queries every 5 seconds for each open tab. The row of its figures is
now read by all, and computed anew by whoever finds it old.

Lock: none but that of the new table. Back: drops the table; its rows are computed anew.
Breaks: nothing; code of the release before does not know the table.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0009_upright_assets")]

    operations = [
        migrations.CreateModel(
            name="SharedFigures",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                ("value", models.JSONField(null=True)),
                ("taken_at", models.DateTimeField(null=True)),
                ("valid_until", models.DateTimeField(null=True)),
                (
                    "claimed_until",
                    models.DateTimeField(
                        help_text="A process computes them, and has died if they do not come by then.",
                        null=True,
                    ),
                ),
            ],
            options={
                "db_table": "shared_figures",
                "constraints": [
                    models.UniqueConstraint(fields=["name"], name="uq_shared_figures_name")
                ],
            },
        ),
    ]
