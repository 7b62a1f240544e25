"""A submission is the slot of its account, followed until it ends: reference, deadlines, outputs.

Every column is null or has a constant default, so nothing is rewritten.
Lock: ACCESS EXCLUSIVE on provider_submissions for an instant; 0011 validates the check.
Back: drops the columns. Live submissions could not be followed any more: let them end first.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0009_work_columns"),
        ("providers", "0009_account_evidence_valid"),
    ]

    operations = [
        migrations.AddField(
            model_name="providersubmission",
            name="accepted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="choice",
            field=models.TextField(blank=True, help_text="Why this account was chosen.", null=True),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="deadline_at",
            field=models.DateTimeField(
                blank=True,
                help_text="After this time the provider is asked once more only.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="error_class",
            field=models.CharField(blank=True, max_length=32, null=True),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="error_message",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="job_lease",
            field=models.BigIntegerField(
                blank=True,
                editable=False,
                help_text="The job's fencing token in this attempt.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="model",
            field=models.CharField(blank=True, max_length=100, null=True),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="next_poll_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When it is looked after next. Empty: nothing is left to do.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="operation_type",
            field=models.CharField(blank=True, max_length=32, null=True),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="outputs",
            field=models.JSONField(
                blank=True, help_text="The files that were made: addresses, or blobs.", null=True
            ),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="polls",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="progress",
            field=models.FloatField(blank=True, help_text="0 to 1.", null=True),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="reference",
            field=models.CharField(
                blank=True,
                help_text="Ours, sent along where there is a place.",
                max_length=40,
                null=True,
            ),
        ),
        AddConstraintNotValid(
            model_name="providersubmission",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("reference__isnull", True),
                    (
                        "status__in",
                        [
                            "pending",
                            "accepted",
                            "succeeded",
                            "failed",
                            "filtered",
                            "cancelled",
                            "timed_out",
                            "unknown",
                        ],
                    ),
                    _connector="OR",
                ),
                name="ck_provider_submissions_status_valid",
            ),
        ),
    ]
