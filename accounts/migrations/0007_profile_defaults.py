"""Database defaults for `profiles.id` and `.role`, so that a plain INSERT of an e-mail works.

Lock: ACCESS EXCLUSIVE on `profiles`, for a moment (no row is read). Back: drops the defaults.
"""

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_validate_foreign_keys")]

    operations = [
        migrations.AlterField(
            model_name="profile",
            name="id",
            field=models.UUIDField(
                db_default=RandomUUID(),
                default=uuid.uuid4,
                editable=False,
                primary_key=True,
                serialize=False,
            ),
        ),
        migrations.AlterField(
            model_name="profile",
            name="role",
            field=models.CharField(db_default="user", default="user", max_length=20),
        ),
    ]
