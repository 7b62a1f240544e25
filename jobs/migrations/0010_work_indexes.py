"""Indexes of the queue on jobs, one job per idempotency key, and the proof of what 0009 added.

Lock: none that blocks; each index is built concurrently, validation reads while others write.
Back: drops them.
"""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models
from django_pg_migration_tools.operations import SaferAddIndexConcurrently, SaferAddUniqueConstraint

import pixsim.core.db.indexes


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0009_work_columns")]

    operations = [
        SaferAddIndexConcurrently(
            model_name="job",
            index=pixsim.core.db.indexes.NamedIndex(
                models.F("provider_id"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("ready_at"),
                models.F("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "pending")),
                name="ix_jobs_claim",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=pixsim.core.db.indexes.NamedIndex(
                models.F("owner"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("created_at"),
                models.F("id"),
                condition=models.Q(
                    ("held", False), ("ready_at__isnull", True), ("status", "pending")
                ),
                name="ix_jobs_waiting",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("owner__isnull", False), ("ready_at__isnull", False)),
                fields=["owner"],
                name="ix_jobs_window",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("available_at__isnull", False), ("held", True)),
                fields=["available_at"],
                name="ix_jobs_available",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(
                    models.Q(
                        ("completed_at__isnull", True),
                        ("status__in", ["completed", "failed", "cancelled"]),
                    ),
                    models.Q(("completed_at__isnull", False), ("status", "pending")),
                    _connector="OR",
                ),
                fields=["id"],
                name="ix_jobs_unsettled",
            ),
        ),
        SaferAddIndexConcurrently(
            model_name="job",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("completed_at__isnull", False)),
                fields=["completed_at"],
                name="ix_jobs_finished",
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                fields=("user", "idempotency_key"), name="uq_jobs_user_idempotency_key"
            ),
        ),
        ValidateConstraint("job", "ck_jobs_held_not_ready"),
        migrations.RunSQL(
            "ALTER TABLE jobs VALIDATE CONSTRAINT jobs_owner_id_fkey", migrations.RunSQL.noop
        ),
    ]
