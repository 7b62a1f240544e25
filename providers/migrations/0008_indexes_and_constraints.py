"""Slots are counted by index, a job has one live submission, and each reference is one submission.

The latest submissions of a provider are found by index too: its circuit breaker asks for them.

Lock: none that blocks for long. Indexes are built concurrently, and those of unique constraints
then attached; checks are validated while others write. Stopped midway, it goes on where it was.
Back: drops all of it. Submissions whose account was found out from evidence keep it, marked as a
guess, in ranges of keys; `manage.py db backfill run accounts-from-evidence` finds it out again
after coming back.
"""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models
from django_pg_migration_tools.operations import (
    SaferAddCheckConstraint,
    SaferAddIndexConcurrently,
    SaferAddUniqueConstraint,
)

from pixsim.core.db.backfill import migration_step
from pixsim.core.db.indexes import NamedIndex
from providers.backfills import MARK_EVIDENCE_AS_GUESSES_SQL, mark_evidence_as_guesses


class Migration(migrations.Migration):
    atomic = False

    replaces = [
        ("providers", "0009_account_evidence_valid"),
        ("providers", "0011_slot_indexes"),
        ("providers", "0015_latest_submissions"),
    ]

    dependencies = [
        ("providers", "0007_columns"),
    ]

    operations = [
        ValidateConstraint("providersubmission", "ck_provider_submissions_account_source_valid"),
        SaferAddCheckConstraint(
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
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=NamedIndex(
                condition=models.Q(
                    ("reference__isnull", False), ("status__in", ["pending", "accepted", "unknown"])
                ),
                fields=["account"],
                name="ix_provider_submissions_live",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=NamedIndex(
                condition=models.Q(("next_poll_at__isnull", False)),
                fields=["next_poll_at"],
                name="ix_provider_submissions_due",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=NamedIndex(
                condition=models.Q(("reference__isnull", False), ("responded_at__isnull", False)),
                fields=["account", "responded_at"],
                name="ix_provider_submissions_recent",
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="providersubmission",
            constraint=models.UniqueConstraint(
                fields=("reference",), name="uq_provider_submissions_reference"
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="providersubmission",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("reference__isnull", False), ("status__in", ["pending", "accepted", "unknown"])
                ),
                fields=("job",),
                name="uq_provider_submissions_live",
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="providersubmission",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("reference__isnull", False), ("provider_job_id__isnull", False)
                ),
                fields=("provider_id", "account", "provider_job_id"),
                name="uq_provider_submissions_provider_job",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=NamedIndex(
                condition=models.Q(("reference__isnull", False)),
                fields=["provider_id", "submitted_at"],
                name="ix_provider_submissions_latest",
            ),
        ),
        # Last, so that it comes first on the way back.
        migrations.RunPython(
            migrations.RunPython.noop,
            migration_step(mark_evidence_as_guesses, sql=MARK_EVIDENCE_AS_GUESSES_SQL),
        ),
    ]
