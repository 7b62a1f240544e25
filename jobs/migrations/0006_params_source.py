"""Where a job's params come from, if not from the job itself: 'payload' of its first submission.

Jobs from before `params` have `{}`; `manage.py db backfill run params-from-payloads` fills them and
says so here. This migration changes no row: empty means that the params came with the job.

Lock: ACCESS EXCLUSIVE on jobs for a moment; 0007 validates the CHECK.
Back: drops the column; the params that were filled stay.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("jobs", "0005_work_lease_sequence")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="params_source",
            field=models.CharField(
                blank=True,
                choices=[("payload", "payload of its first submission")],
                editable=False,
                help_text="Empty: they came with the job.",
                max_length=20,
                null=True,
            ),
        ),
        AddConstraintNotValid(
            model_name="job",
            constraint=models.CheckConstraint(
                name="ck_jobs_params_source_valid", condition=Q(params_source__in=["payload"])
            ),
        ),
    ]
