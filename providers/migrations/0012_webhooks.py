"""Webhooks that were taken: a small new table, so that each event is taken once.

Lock: none on what exists.
Back: drops the table; events of the last minutes could then be taken a second time.
"""

from django.db import migrations, models

import pixsim.core.db.expressions


class Migration(migrations.Migration):
    dependencies = [("providers", "0011_slot_indexes")]

    operations = [
        migrations.CreateModel(
            name="ProviderWebhook",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("provider_id", models.CharField(max_length=50)),
                (
                    "event_id",
                    models.CharField(
                        help_text="The provider's, same when sent again.", max_length=200
                    ),
                ),
                (
                    "received_at",
                    models.DateTimeField(
                        db_default=pixsim.core.db.expressions.TransactionNow(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "provider_webhooks",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider_id", "event_id"), name="uq_provider_webhooks_event"
                    )
                ],
            },
        ),
    ]
