"""A submission is the slot of its account, followed until it ends; webhooks; database defaults.

Every column is null or has a constant default. With defaults in the database a plain INSERT of the
documented columns works from anywhere; rows that exist keep their values. `account_source` may also
say 'evidence' and 'only_account', which `manage.py db backfill run accounts-from-evidence` writes;
0008 validates the check. Each webhook is recorded in a small new table, so that it is handled once.

Lock: ACCESS EXCLUSIVE on provider_accounts, provider_credits and provider_submissions for an
instant: nothing is read or rewritten. Back: drops columns, table and defaults and brings the older
check back. Live submissions could not be followed any more: let them end first.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

from pixsim.core.db.expressions import TransactionNow

SOURCES = [
    ("recorded", "recorded"),
    ("backfill", "guessed by the backfill"),
    ("evidence", "named in payload or response"),
    ("only_account", "the only account of its provider"),
]
CHECK = "ck_provider_submissions_account_source_valid"


class Migration(migrations.Migration):
    replaces = [
        ("providers", "0007_defaults"),
        ("providers", "0008_account_evidence"),
        ("providers", "0010_slots"),
        ("providers", "0012_webhooks"),
        ("providers", "0013_submission_cost"),
        ("providers", "0014_fetches"),
    ]

    dependencies = [
        ("jobs", "0003_columns"),
        ("providers", "0006_generation_time"),
    ]

    operations = [
        migrations.AlterField(
            model_name="provideraccount",
            name="is_private",
            field=models.BooleanField(
                db_default=False, default=False, help_text="Only its owner's jobs may use it."
            ),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="total_videos_generated",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="total_videos_failed",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="failure_streak",
            field=models.IntegerField(
                db_default=0, default=0, help_text="Failures since the last success."
            ),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="status",
            field=models.CharField(
                choices=[
                    ("active", "active"),
                    ("exhausted", "exhausted"),
                    ("error", "error"),
                    ("disabled", "disabled"),
                    ("rate_limited", "rate limited"),
                ],
                db_default="active",
                default="active",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="success_rate",
            field=models.FloatField(db_default=1.0, default=1.0, help_text="0 to 1."),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="max_concurrent_jobs",
            field=models.IntegerField(
                db_default=2, default=2, help_text="Live submissions it may carry at once."
            ),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="current_processing_jobs",
            field=models.IntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="The older system's counter; no longer kept.",
            ),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="priority",
            field=models.IntegerField(db_default=0, default=0, help_text="Higher is preferred."),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="videos_today",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="created_at",
            field=models.DateTimeField(db_default=TransactionNow(), editable=False),
        ),
        migrations.AlterField(
            model_name="provideraccount",
            name="updated_at",
            field=models.DateTimeField(auto_now=True, db_default=TransactionNow()),
        ),
        migrations.AlterField(
            model_name="providercredit",
            name="amount",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="providercredit",
            name="updated_at",
            field=models.DateTimeField(auto_now=True, db_default=TransactionNow()),
        ),
        migrations.AlterField(
            model_name="providercredit",
            name="created_at",
            field=models.DateTimeField(db_default=TransactionNow(), editable=False),
        ),
        migrations.AlterField(
            model_name="providersubmission",
            name="retry_attempt",
            field=models.IntegerField(db_default=0, help_text="0 is the first attempt."),
        ),
        migrations.AlterField(
            model_name="providersubmission",
            name="submitted_at",
            field=models.DateTimeField(db_default=TransactionNow()),
        ),
        migrations.AlterField(
            model_name="providersubmission",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "pending"),
                    ("accepted", "accepted"),
                    ("succeeded", "succeeded"),
                    ("failed", "failed"),
                    ("filtered", "filtered"),
                    ("cancelled", "cancelled"),
                    ("timed_out", "timed out"),
                    ("unknown", "unknown"),
                ],
                db_default="pending",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="providersubmission",
            name="account_source",
            field=models.CharField(choices=SOURCES, db_default="recorded", max_length=20),
        ),
        migrations.RemoveConstraint("providersubmission", CHECK),
        AddConstraintNotValid(
            model_name="providersubmission",
            constraint=models.CheckConstraint(
                name=CHECK, condition=Q(account_source__in=[source for source, _ in SOURCES])
            ),
        ),
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
                help_text="After this time the provider is asked only once more.",
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
                help_text="When it is processed next. Empty: nothing is left to do.",
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
                help_text="Our id of it, sent to the provider.",
                max_length=40,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="cost",
            field=models.FloatField(
                blank=True,
                help_text="In the provider's credits. Empty: not reported.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="fetches",
            field=models.IntegerField(
                db_default=0,
                help_text="How often fetching its files was tried again.",
            ),
        ),
        migrations.CreateModel(
            name="ProviderWebhook",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("provider_id", models.CharField(max_length=50)),
                (
                    "event_id",
                    models.CharField(
                        help_text="The provider's id, same when sent again.", max_length=200
                    ),
                ),
                (
                    "received_at",
                    models.DateTimeField(db_default=TransactionNow(), editable=False),
                ),
            ],
            options={
                "db_table": "provider_webhooks",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider_id", "event_id"), name="uq_provider_webhooks_event"
                    )
                ],
            },
        ),
    ]
