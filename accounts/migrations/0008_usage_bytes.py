"""Exact bytes beside the rounded gigabytes of `usage_metrics`.

Null: only gigabytes were recorded, which the next addition starts from.

Lock: ACCESS EXCLUSIVE on `usage_metrics`, for a moment (nothing is rewritten). Back: drops the
columns; the gigabytes stay.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_profile_defaults")]

    operations = [
        migrations.AddField(
            model_name="usagemetrics",
            name="storage_used_bytes",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="usagemetrics",
            name="bandwidth_used_bytes",
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
