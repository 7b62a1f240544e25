"""Log-ins of profiles, references and holds in the ledger, exact bytes, request ids, defaults.

A profile of an older system has no log-in here, and a deleted log-in leaves its profile and work
behind, so `profiles.user_id` may be null; 0004 makes it unique and 0005 adds its foreign key. Null
bytes of `usage_metrics` mean that only gigabytes were recorded. The older check on the ledger's
`type` knows purchase, usage, refund and bonus; it is replaced by one of the same name that knows
hold, capture, release and adjustment too, and that 0005 validates.

Lock: ACCESS EXCLUSIVE on profiles, usage_metrics, activity_logs and credit_transactions for an
instant: no row is read or rewritten. Back: refuses, with their number, while the ledger has entries
of the new types, since balances would be unexplained without them; else drops the columns and
brings the older check back. 0004 finds by e-mail which log-in a profile had.
"""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

from pixsim.core.db.steps import in_sql, refusal

OLDER = ["purchase", "usage", "refund", "bonus"]
KINDS = [
    ("purchase", "purchase"),
    ("usage", "usage"),
    ("refund", "refund"),
    ("bonus", "bonus"),
    ("hold", "held for work"),
    ("capture", "captured from a hold"),
    ("release", "released from a hold"),
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
    replaces = [
        ("accounts", "0003_profile_user"),
        ("accounts", "0007_profile_defaults"),
        ("accounts", "0008_usage_bytes"),
        ("accounts", "0009_activity_request_id"),
        ("accounts", "0011_ledger"),
    ]

    dependencies = [
        ("accounts", "0002_user_tier"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # Without the UNIQUE that Django would write here, which reads the table: 0004 adds it.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE profiles ADD COLUMN user_id integer",
                    "ALTER TABLE profiles DROP COLUMN user_id",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="profile",
                    name="user",
                    field=models.OneToOneField(
                        blank=True,
                        db_constraint=False,
                        help_text="The log-in. Empty: nobody can log in as this profile.",
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="profile",
                        to=settings.AUTH_USER_MODEL,
                    ),
                )
            ],
        ),
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
        migrations.AddField(
            model_name="activitylog",
            name="request_id",
            field=models.CharField(max_length=64, null=True),
        ),
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
            name="closes",
            field=models.ForeignKey(
                blank=True,
                db_column="settles_id",
                db_constraint=False,
                db_index=False,
                help_text="The hold that this entry captures or releases; a hold is closed once.",
                null=True,
                on_delete=models.RESTRICT,
                related_name="closings",
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
        # Last, so that it comes first on the way back.
        migrations.RunPython(migrations.RunPython.noop, refuse_to_lose_lines),
    ]
