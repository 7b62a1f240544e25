"""The ledger gets references, and lines that settle holds; `type` may be one of the new kinds.

The older check on `type` knows purchase, usage, refund and bonus; it is replaced by one of the same
name that knows hold, capture, release and adjustment too.

Lock: an instant of ACCESS EXCLUSIVE on `credit_transactions`: columns without default, a check and
a foreign key that are not validated (0012 does that). Back: refuses, naming how many, while there
are lines of the new kinds; else drops the columns and gives the older check back.
"""

from typing import Any

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

from pixsim.core.db.operations import AddForeignKey
from pixsim.core.db.steps import in_sql, refusal

OLDER = ["purchase", "usage", "refund", "bonus"]
KINDS = [
    ("purchase", "purchase"),
    ("usage", "usage"),
    ("refund", "refund"),
    ("bonus", "bonus"),
    ("hold", "held for work"),
    ("capture", "hold settled with the cost"),
    ("release", "hold given back"),
    ("adjustment", "adjustment"),
]


@in_sql(
    refusal(
        f"EXISTS (SELECT FROM credit_transactions WHERE type <> ALL (ARRAY{OLDER}))",
        "Lines of the ledger are holds and their ends, which the older schema does not know.",
    )
)
def refuse_to_lose_lines(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM credit_transactions WHERE type <> ALL(%s)", [OLDER])
        count = cursor.fetchone()[0]
    if count:
        raise ValueError(
            f"{count} lines of the ledger are holds and their ends, which the older schema does not "
            "know; nothing was changed. Going back would leave balances unexplained."
        )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_activity_by_person")]

    operations = [
        migrations.RemoveConstraint(
            model_name="credittransaction", name="ck_credit_transactions_type_valid"
        ),
        migrations.AddField(
            model_name="credittransaction",
            name="reference",
            field=models.CharField(
                blank=True,
                help_text="What it is for; booked once.",
                max_length=100,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="credittransaction",
            name="settles",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                help_text="The hold that this line ends; a hold ends once.",
                null=True,
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="settlements",
                to="accounts.credittransaction",
            ),
        ),
        migrations.AlterField(
            model_name="credittransaction",
            name="type",
            field=models.CharField(choices=KINDS, max_length=20),
        ),
        AddConstraintNotValid(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=Q(type__in=[kind for kind, _ in KINDS]),
                name="ck_credit_transactions_type_valid",
            ),
        ),
        AddForeignKey(
            table="credit_transactions",
            column="settles_id",
            to="credit_transactions",
            name="credit_transactions_settles_id_fkey",
            validate=False,
        ),
        # Last, so that it is asked first on the way back.
        migrations.RunPython(migrations.RunPython.noop, refuse_to_lose_lines),
    ]
