"""Provider accounts and their credit, as PixSim7 had them at revision 7425b92ac62e.

The secrets are encrypted in `text` columns; the status is a varchar with a CHECK.

Lock: new tables only; the foreign keys take a short lock on auth_user.
Back: drops both tables, with every account and its secrets.
"""

from django.conf import settings
from django.db import migrations, models

from pixsim.core.crypto.fields import EncryptedJSONField, EncryptedTextField
from pixsim.core.db.indexes import NamedIndex
from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.CreateModel(
            name="ProviderAccount",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        help_text="Whose account it is. Empty: the system's.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="provider_accounts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "is_private",
                    models.BooleanField(
                        default=False, help_text="Only its owner's jobs may use it."
                    ),
                ),
                ("provider_id", models.CharField(help_text="The adapter's name.", max_length=50)),
                ("email", models.CharField(max_length=255)),
                ("password", EncryptedTextField(blank=True, null=True)),
                ("jwt_token", EncryptedTextField(blank=True, null=True)),
                ("api_key", EncryptedTextField(blank=True, null=True)),
                ("api_key_paid", EncryptedTextField(blank=True, null=True)),
                ("cookies", EncryptedJSONField(blank=True, null=True)),
                ("nickname", models.CharField(blank=True, max_length=100, null=True)),
                ("provider_user_id", models.CharField(blank=True, max_length=100, null=True)),
                ("provider_metadata", models.JSONField(blank=True, null=True)),
                ("total_videos_generated", models.IntegerField(default=0)),
                ("total_videos_failed", models.IntegerField(default=0)),
                (
                    "failure_streak",
                    models.IntegerField(default=0, help_text="Failures since the last success."),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("active", "active"),
                            ("exhausted", "exhausted"),
                            ("error", "error"),
                            ("disabled", "disabled"),
                            ("rate_limited", "rate limited"),
                        ],
                        default="active",
                        max_length=20,
                    ),
                ),
                ("last_error", models.CharField(blank=True, null=True)),
                ("last_used", models.DateTimeField(blank=True, null=True)),
                (
                    "cooldown_until",
                    models.DateTimeField(
                        blank=True, help_text="Takes no work before this time.", null=True
                    ),
                ),
                ("success_rate", models.FloatField(default=1.0, help_text="0 to 1.")),
                ("avg_generation_time_sec", models.FloatField(blank=True, null=True)),
                (
                    "max_concurrent_jobs",
                    models.IntegerField(
                        default=2, help_text="Live submissions it may carry at once."
                    ),
                ),
                (
                    "current_processing_jobs",
                    models.IntegerField(
                        default=0,
                        editable=False,
                        help_text="The older system's counter; no longer kept.",
                    ),
                ),
                ("priority", models.IntegerField(default=0, help_text="Higher is preferred.")),
                ("max_daily_videos", models.IntegerField(blank=True, null=True)),
                ("videos_today", models.IntegerField(default=0)),
                ("created_at", models.DateTimeField(editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "provider_accounts",
                "indexes": [
                    NamedIndex(fields=["provider_id"], name="ix_provider_accounts_provider_id"),
                    NamedIndex(fields=["status"], name="ix_provider_accounts_status"),
                    NamedIndex(fields=["user"], name="ix_provider_accounts_user_id"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("email", "provider_id", "user"),
                        name="uq_provider_account_email_provider_user",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                ["active", "exhausted", "error", "disabled", "rate_limited"],
                            )
                        ),
                        name="ck_provider_accounts_status_valid",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderCredit",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="credits",
                        to="providers.provideraccount",
                    ),
                ),
                ("credit_type", models.CharField(max_length=50)),
                ("amount", models.IntegerField(default=0)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("created_at", models.DateTimeField(editable=False)),
            ],
            options={
                "db_table": "provider_credits",
                "indexes": [
                    NamedIndex(fields=["credit_type", "amount"], name="idx_credit_type_amount"),
                    NamedIndex(fields=["account"], name="ix_provider_credits_account_id"),
                    NamedIndex(fields=["credit_type"], name="ix_provider_credits_credit_type"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("account"), models.F("credit_type"), name="idx_account_credit_type"
                    )
                ],
            },
        ),
        AddForeignKey(
            table="provider_accounts",
            column="user_id",
            to="auth_user",
            name="provider_accounts_user_id_fkey",
        ),
        AddForeignKey(
            table="provider_credits",
            column="account_id",
            to="provider_accounts",
            name="provider_credits_account_id_fkey",
        ),
    ]
