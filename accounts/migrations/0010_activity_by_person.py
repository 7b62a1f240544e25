"""Index `activity_logs (user_id, timestamp)`: a person's activity, and a profile's deletion.

Lock: none that blocks reading or writing (CONCURRENTLY). Stopped midway it leaves an invalid index
of this name: drop it and migrate again. Back: drops the index, concurrently.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations

from pixsim.core.db.indexes import NamedIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("accounts", "0009_activity_request_id")]

    operations = [
        AddIndexConcurrently(
            model_name="activitylog",
            index=NamedIndex(fields=["user", "timestamp"], name="ix_activity_logs_user_timestamp"),
        ),
    ]
