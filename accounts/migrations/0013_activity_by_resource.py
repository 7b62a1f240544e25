"""Index `activity_logs (resource_type, resource_id)`: what people did to a thing, for its story.

Lock: none that blocks reading or writing (CONCURRENTLY). Stopped midway it leaves an invalid index
of this name: drop it and migrate again. Back: drops the index, concurrently.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations
from django.db.models import Q

from pixsim.core.db.indexes import NamedIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("accounts", "0012_ledger_unique")]

    operations = [
        AddIndexConcurrently(
            model_name="activitylog",
            index=NamedIndex(
                fields=["resource_type", "resource_id"],
                name="ix_activity_logs_resource",
                condition=Q(resource_id__isnull=False),
            ),
        ),
    ]
