"""A reference is booked once and a hold ends once; what 0011 added is proved for older rows.

Lock: none that blocks: unique indexes are built concurrently and then attached, the check and the
foreign key are validated while reading and writing go on. Back: drops the unique constraints.
"""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models
from django_pg_migration_tools.operations import SaferAddUniqueConstraint


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("accounts", "0011_ledger")]

    operations = [
        SaferAddUniqueConstraint(
            model_name="credittransaction",
            constraint=models.UniqueConstraint(
                fields=("reference",), name="uq_credit_transactions_reference"
            ),
        ),
        SaferAddUniqueConstraint(
            model_name="credittransaction",
            constraint=models.UniqueConstraint(
                fields=("settles",), name="uq_credit_transactions_settles"
            ),
        ),
        ValidateConstraint("credittransaction", "ck_credit_transactions_type_valid"),
        migrations.RunSQL(
            "ALTER TABLE credit_transactions VALIDATE CONSTRAINT credit_transactions_settles_id_fkey",
            migrations.RunSQL.noop,
        ),
    ]
