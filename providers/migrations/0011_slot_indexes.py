"""Slots are counted by index, a job has one live submission, and each reference is one submission.

Lock: none that blocks; each index is built concurrently, validation reads while others write.
Back: drops them.
"""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models
from django_pg_migration_tools.operations import SaferAddIndexConcurrently, SaferAddUniqueConstraint

import pixsim.core.db.indexes


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("providers", "0010_slots")]

    operations = [
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(
                    ("reference__isnull", False), ("status__in", ["pending", "accepted", "unknown"])
                ),
                fields=["account"],
                name="ix_provider_submissions_live",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("next_poll_at__isnull", False)),
                fields=["next_poll_at"],
                name="ix_provider_submissions_due",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=pixsim.core.db.indexes.NamedIndex(
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
        ValidateConstraint("providersubmission", "ck_provider_submissions_status_valid"),
    ]
