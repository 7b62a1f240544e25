"""The models that an account may not use, as its provider said.

A refusal of one model used to put the account out of service for all.

Lock: a new table only; its foreign key takes a short lock on provider_accounts. Nothing that is
stored is changed, and code from before does not look at the table. Back: drops the table; refused
models are then tried again.
"""

import django.db.models.deletion
from django.db import migrations, models

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    dependencies = [("providers", "0008_indexes_and_constraints")]

    operations = [
        migrations.CreateModel(
            name="ModelRefusal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="model_refusals",
                        to="providers.provideraccount",
                    ),
                ),
                ("model", models.CharField(max_length=100)),
                ("message", models.CharField(help_text="The provider's words.")),
                (
                    "refused_at",
                    models.DateTimeField(db_default=TransactionNow(), editable=False),
                ),
            ],
            options={
                "db_table": "provider_model_refusals",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "model"), name="uq_provider_model_refusals_account_model"
                    )
                ],
            },
        ),
        AddForeignKey(
            table="provider_model_refusals",
            column="account_id",
            to="provider_accounts",
            name="provider_model_refusals_account_id_fkey",
            on_delete="CASCADE",
        ),
    ]
