"""`activity_logs.request_id`: the request in which something was done.

Lock: ACCESS EXCLUSIVE on `activity_logs`, for a moment (nothing is rewritten). Back: drops the
column.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_usage_bytes")]

    operations = [
        migrations.AddField(
            model_name="activitylog",
            name="request_id",
            field=models.CharField(max_length=64, null=True),
        ),
    ]
