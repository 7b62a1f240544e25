"""The reference of a credit entry is its owner's: those of two people may be the same.

A reference was unique among all entries and was looked up without its owner, so a grant with a
reference that another person's entry had added nothing. The new unique index is built before the old
one is dropped, so that at no time one owner's reference could be booked twice.

Lock: ACCESS EXCLUSIVE on credit_transactions for an instant; SHARE UPDATE EXCLUSIVE while an index is
built (others read and write meanwhile). Back: builds the unique index of references alone again, and
refuses, changing nothing, if two people have the same by then.
Breaks: nothing; code of the release before still finds each reference, and books it once.
"""

from django.db import migrations, models
from django_pg_migration_tools.operations import (
    SaferAddUniqueConstraint,
    SaferRemoveUniqueConstraint,
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("accounts", "0006_notification_preferences"),
    ]

    operations = [
        SaferAddUniqueConstraint(
            model_name="credittransaction",
            constraint=models.UniqueConstraint(
                fields=("reference", "user"), name="uq_credit_transactions_reference_user"
            ),
        ),
        SaferRemoveUniqueConstraint(
            model_name="credittransaction",
            name="uq_credit_transactions_reference",
        ),
    ]
