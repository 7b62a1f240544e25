"""What was sent to providers, as PixSim7 had it at revision 7425b92ac62e.

Which account sent it was not recorded then; migrations 0003 to 0005 add that.

Lock: a new table only; the foreign keys take a short lock on jobs.
Back: drops the table, with the record of everything that was sent.
"""

from django.db import migrations, models

from pixsim.core.db.indexes import NamedIndex
from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_accounts"), ("jobs", "0001_jobs")]

    operations = [
        migrations.CreateModel(
            name="ProviderSubmission",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="submissions",
                        to="jobs.job",
                    ),
                ),
                ("provider_id", models.CharField(max_length=50)),
                ("payload", models.JSONField(blank=True, null=True)),
                ("response", models.JSONField(blank=True, null=True)),
                ("provider_job_id", models.CharField(blank=True, max_length=200, null=True)),
                ("retry_attempt", models.IntegerField(help_text="0 is the first attempt.")),
                (
                    "previous_submission",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="+",
                        to="providers.providersubmission",
                    ),
                ),
                ("submitted_at", models.DateTimeField()),
                ("responded_at", models.DateTimeField(blank=True, null=True)),
                (
                    "duration_ms",
                    models.IntegerField(blank=True, help_text="Milliseconds.", null=True),
                ),
                (
                    "status",
                    models.CharField(
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
                        max_length=20,
                    ),
                ),
            ],
            options={
                "db_table": "provider_submissions",
                "indexes": [
                    NamedIndex(fields=["job", "retry_attempt"], name="idx_submission_job_attempt"),
                    NamedIndex(
                        fields=["provider_id", "provider_job_id"],
                        name="idx_submission_provider_job",
                    ),
                    NamedIndex(
                        fields=["status", "submitted_at"], name="idx_submission_status_submitted"
                    ),
                    NamedIndex(fields=["job"], name="ix_provider_submissions_job_id"),
                    NamedIndex(fields=["provider_id"], name="ix_provider_submissions_provider_id"),
                    NamedIndex(
                        fields=["provider_job_id"], name="ix_provider_submissions_provider_job_id"
                    ),
                    NamedIndex(fields=["status"], name="ix_provider_submissions_status"),
                    NamedIndex(
                        fields=["submitted_at"], name="ix_provider_submissions_submitted_at"
                    ),
                ],
            },
        ),
        AddForeignKey(
            table="provider_submissions",
            column="job_id",
            to="jobs",
            name="provider_submissions_job_id_fkey",
        ),
        AddForeignKey(
            table="provider_submissions",
            column="previous_submission_id",
            to="provider_submissions",
            name="provider_submissions_previous_submission_id_fkey",
        ),
    ]
