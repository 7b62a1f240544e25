"""Named foreign keys to `profiles`, acting in the database: what is a person's goes with them,
the log of what was done stays.

The older system had none, so rows may point at nobody. The keys are added NOT VALID: from here on
new rows must be right, and 0006 proves the old ones.

Lock: SHARE ROW EXCLUSIVE on each table and on `profiles`, for a moment (no row is read). Back:
drops the keys.
"""

from django.db import migrations

from pixsim.core.db.operations import AddForeignKey


def to_profiles(table: str, on_delete: str = "CASCADE") -> AddForeignKey:
    return AddForeignKey(
        table=table,
        column="user_id",
        to="profiles",
        name=f"{table}_user_id_fkey",
        on_delete=on_delete,
        validate=False,
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_profiles_for_users")]

    operations = [
        to_profiles("credit_accounts"),
        to_profiles("credit_transactions"),
        AddForeignKey(
            table="credit_transactions",
            column="account_id",
            to="credit_accounts",
            name="credit_transactions_account_id_fkey",
            on_delete="CASCADE",
            validate=False,
        ),
        to_profiles("notifications"),
        to_profiles("notification_preferences"),
        to_profiles("api_keys"),
        to_profiles("usage_metrics"),
        to_profiles("activity_logs", on_delete="SET NULL"),
    ]
