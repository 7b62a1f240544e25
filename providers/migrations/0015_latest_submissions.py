"""The latest submissions of a provider are found by index: its circuit breaker asks for them.

Lock: none that blocks; the index is built concurrently. Back: drops it.
"""

from django.db import migrations, models
from django_pg_migration_tools.operations import SaferAddIndexConcurrently

import pixsim.core.db.indexes


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("providers", "0014_fetches")]

    operations = [
        SaferAddIndexConcurrently(
            model_name="providersubmission",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("reference__isnull", False)),
                fields=["provider_id", "submitted_at"],
                name="ix_provider_submissions_latest",
            ),
        ),
    ]
