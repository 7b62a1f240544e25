"""Database defaults for accounts, credit and submissions.

The older system filled these in its own code; with defaults in the database a plain INSERT that
names only the documented columns works from anywhere. Rows that exist keep their values.

Lock: ACCESS EXCLUSIVE on each table for a moment; only the catalogue changes.
Back: drops the defaults.
"""

from django.db import migrations, models

from pixsim.core.db.expressions import TransactionNow


class Migration(migrations.Migration):
    dependencies = [("providers", "0006_generation_time")]

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
    ]
