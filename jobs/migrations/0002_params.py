"""`jobs.params`, as PixSim7 had it at revision daa977a0bfa9.

Jobs that exist get `{}`: what was sent for them stands in the payload of their submissions.

Lock: ACCESS EXCLUSIVE on jobs for a moment; a constant default does not rewrite the table.
Back: drops the column with every job's parameters.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_jobs")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="params",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField())),
        ),
    ]
