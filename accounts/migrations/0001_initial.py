"""Profiles and the tables around them, as PixCrawler had them before its revision 001.

Lock: new tables only. Back: drops them, with everything in them.
"""

import uuid
from decimal import Decimal

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.indexes import NamedIndex


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Profile",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("email", models.CharField(max_length=255, verbose_name="e-mail")),
                ("full_name", models.CharField(blank=True, max_length=100, null=True)),
                ("avatar_url", models.TextField(blank=True, null=True)),
                ("role", models.CharField(default="user", max_length=20)),
                ("created_at", models.DateTimeField(db_default=TransactionNow(), editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True, db_default=TransactionNow())),
            ],
            options={
                "db_table": "profiles",
                "constraints": [
                    models.UniqueConstraint(fields=("email",), name="profiles_email_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditAccount",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=RandomUUID(),
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="credit_accounts",
                        to="accounts.profile",
                    ),
                ),
                ("current_balance", models.IntegerField(db_default=0)),
                ("monthly_usage", models.IntegerField(db_default=0)),
                (
                    "average_daily_usage",
                    models.DecimalField(
                        db_default=Decimal("0.00"), decimal_places=2, max_digits=10
                    ),
                ),
                ("auto_refill_enabled", models.BooleanField(db_default=False)),
                ("refill_threshold", models.IntegerField(db_default=100)),
                ("refill_amount", models.IntegerField(db_default=500)),
                ("monthly_limit", models.IntegerField(db_default=2000)),
                ("created_at", models.DateTimeField(db_default=TransactionNow(), editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True, db_default=TransactionNow())),
            ],
            options={
                "db_table": "credit_accounts",
                "constraints": [
                    models.UniqueConstraint(models.F("user"), name="ix_credit_accounts_user_id"),
                    models.CheckConstraint(
                        condition=models.Q(("current_balance__gte", 0)),
                        name="ck_credit_accounts_balance_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("monthly_usage__gte", 0)),
                        name="ck_credit_accounts_monthly_usage_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("refill_threshold__gt", 0)),
                        name="ck_credit_accounts_refill_threshold_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("refill_amount__gt", 0)),
                        name="ck_credit_accounts_refill_amount_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("monthly_limit__gt", 0)),
                        name="ck_credit_accounts_monthly_limit_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditTransaction",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=RandomUUID(),
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="transactions",
                        to="accounts.creditaccount",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="credit_transactions",
                        to="accounts.profile",
                    ),
                ),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("purchase", "purchase"),
                            ("usage", "usage"),
                            ("refund", "refund"),
                            ("bonus", "bonus"),
                        ],
                        max_length=20,
                    ),
                ),
                ("description", models.TextField()),
                (
                    "amount",
                    models.IntegerField(help_text="Credits; negative when they were spent."),
                ),
                ("balance_after", models.IntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("completed", "completed"),
                            ("pending", "pending"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        db_default="completed",
                        max_length=20,
                    ),
                ),
                ("metadata", models.JSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=TransactionNow(), editable=False)),
            ],
            options={
                "db_table": "credit_transactions",
                "indexes": [
                    NamedIndex(fields=["account"], name="ix_credit_transactions_account_id"),
                    NamedIndex(fields=["created_at"], name="ix_credit_transactions_created_at"),
                    NamedIndex(fields=["status"], name="ix_credit_transactions_status"),
                    NamedIndex(fields=["type"], name="ix_credit_transactions_type"),
                    NamedIndex(
                        fields=["user", "created_at"], name="ix_credit_transactions_user_created"
                    ),
                    NamedIndex(fields=["user"], name="ix_credit_transactions_user_id"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("balance_after__gte", 0)),
                        name="ck_credit_transactions_balance_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["completed", "pending", "failed", "cancelled"])
                        ),
                        name="ck_credit_transactions_status_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("type__in", ["purchase", "usage", "refund", "bonus"])),
                        name="ck_credit_transactions_type_valid",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
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
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="notifications",
                        to="accounts.profile",
                    ),
                ),
                ("title", models.CharField(max_length=255)),
                ("message", models.TextField()),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("success", "success"),
                            ("info", "info"),
                            ("warning", "warning"),
                            ("error", "error"),
                        ],
                        max_length=50,
                    ),
                ),
                (
                    "category",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("crawl_job", "crawl job"),
                            ("payment", "payment"),
                            ("system", "system"),
                            ("security", "security"),
                            ("dataset", "dataset"),
                            ("project", "project"),
                        ],
                        max_length=50,
                        null=True,
                    ),
                ),
                ("icon", models.CharField(blank=True, max_length=50, null=True)),
                ("color", models.CharField(blank=True, max_length=20, null=True)),
                ("action_url", models.TextField(blank=True, null=True)),
                ("action_label", models.CharField(blank=True, max_length=100, null=True)),
                ("is_read", models.BooleanField(db_default=False)),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                ("metadata", models.JSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=TransactionNow(), editable=False)),
            ],
            options={
                "db_table": "notifications",
                "indexes": [
                    NamedIndex(fields=["category"], name="ix_notifications_category"),
                    NamedIndex(fields=["created_at"], name="ix_notifications_created_at"),
                    NamedIndex(fields=["is_read"], name="ix_notifications_is_read"),
                    NamedIndex(fields=["type"], name="ix_notifications_type"),
                    NamedIndex(fields=["user", "created_at"], name="ix_notifications_user_created"),
                    NamedIndex(fields=["user"], name="ix_notifications_user_id"),
                    NamedIndex(
                        condition=models.Q(("is_read", models.Value(False))),
                        fields=["user", "is_read"],
                        name="ix_notifications_user_unread",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "category__in",
                                [
                                    "crawl_job",
                                    "payment",
                                    "system",
                                    "security",
                                    "dataset",
                                    "project",
                                ],
                            ),
                            ("category__isnull", True),
                            _connector="OR",
                        ),
                        name="ck_notifications_category_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("type__in", ["success", "info", "warning", "error"])),
                        name="ck_notifications_type_valid",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationPreferences",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=RandomUUID(),
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="notification_preferences",
                        to="accounts.profile",
                    ),
                ),
                ("email_enabled", models.BooleanField(db_default=True)),
                ("push_enabled", models.BooleanField(db_default=False)),
                ("sms_enabled", models.BooleanField(db_default=False)),
                ("crawl_jobs_enabled", models.BooleanField(db_default=True)),
                ("datasets_enabled", models.BooleanField(db_default=True)),
                ("billing_enabled", models.BooleanField(db_default=True)),
                ("security_enabled", models.BooleanField(db_default=True)),
                ("marketing_enabled", models.BooleanField(db_default=False)),
                ("product_updates_enabled", models.BooleanField(db_default=True)),
                (
                    "digest_frequency",
                    models.CharField(
                        choices=[
                            ("realtime", "at once"),
                            ("daily", "daily"),
                            ("weekly", "weekly"),
                            ("never", "never"),
                        ],
                        db_default="daily",
                        max_length=20,
                    ),
                ),
                ("quiet_hours_start", models.TimeField(blank=True, null=True)),
                ("quiet_hours_end", models.TimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=TransactionNow(), editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True, db_default=TransactionNow())),
            ],
            options={
                "verbose_name_plural": "notification preferences",
                "db_table": "notification_preferences",
                "constraints": [
                    models.UniqueConstraint(
                        models.F("user"), name="ix_notification_preferences_user_id"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("digest_frequency__in", ["realtime", "daily", "weekly", "never"])
                        ),
                        name="ck_notification_preferences_digest_frequency_valid",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=RandomUUID(),
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="api_keys",
                        to="accounts.profile",
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("key_hash", models.CharField(editable=False, max_length=255)),
                ("key_prefix", models.CharField(max_length=20)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("active", "active"),
                            ("revoked", "revoked"),
                            ("expired", "expired"),
                        ],
                        db_default="active",
                        max_length=20,
                    ),
                ),
                (
                    "permissions",
                    models.JSONField(
                        blank=True,
                        db_default=models.Value([], models.JSONField()),
                        help_text="Scopes.",
                    ),
                ),
                ("rate_limit", models.IntegerField(db_default=1000)),
                ("usage_count", models.IntegerField(db_default=0)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_ip", models.CharField(blank=True, max_length=45, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=TransactionNow(), editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True, db_default=TransactionNow())),
            ],
            options={
                "verbose_name": "API key",
                "db_table": "api_keys",
                "indexes": [
                    NamedIndex(fields=["expires_at"], name="ix_api_keys_expires_at"),
                    NamedIndex(fields=["key_hash"], name="ix_api_keys_key_hash"),
                    NamedIndex(fields=["key_prefix"], name="ix_api_keys_key_prefix"),
                    NamedIndex(fields=["last_used_at"], name="ix_api_keys_last_used_at"),
                    NamedIndex(fields=["status"], name="ix_api_keys_status"),
                    NamedIndex(fields=["user"], name="ix_api_keys_user_id"),
                    NamedIndex(fields=["user", "status"], name="ix_api_keys_user_status"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("rate_limit__gt", 0)),
                        name="ck_api_keys_rate_limit_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["active", "revoked", "expired"])),
                        name="ck_api_keys_status_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("usage_count__gte", 0)),
                        name="ck_api_keys_usage_count_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageMetrics",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=RandomUUID(),
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="usage_metrics",
                        to="accounts.profile",
                    ),
                ),
                ("metric_date", models.DateField()),
                ("images_processed", models.IntegerField(db_default=0)),
                ("images_limit", models.IntegerField(db_default=10000)),
                (
                    "storage_used_gb",
                    models.DecimalField(
                        db_default=Decimal("0.00"), decimal_places=2, max_digits=10
                    ),
                ),
                (
                    "storage_limit_gb",
                    models.DecimalField(
                        db_default=Decimal("100.00"), decimal_places=2, max_digits=10
                    ),
                ),
                ("api_calls", models.IntegerField(db_default=0)),
                ("api_calls_limit", models.IntegerField(db_default=50000)),
                (
                    "bandwidth_used_gb",
                    models.DecimalField(
                        db_default=Decimal("0.00"), decimal_places=2, max_digits=10
                    ),
                ),
                (
                    "bandwidth_limit_gb",
                    models.DecimalField(
                        db_default=Decimal("500.00"), decimal_places=2, max_digits=10
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=TransactionNow(), editable=False)),
            ],
            options={
                "verbose_name_plural": "usage metrics",
                "db_table": "usage_metrics",
                "indexes": [
                    NamedIndex(fields=["metric_date"], name="ix_usage_metrics_metric_date"),
                    NamedIndex(fields=["user", "metric_date"], name="ix_usage_metrics_user_date"),
                    NamedIndex(fields=["user"], name="ix_usage_metrics_user_id"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "metric_date"), name="uq_usage_metrics_user_date"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("api_calls__gte", 0)),
                        name="ck_usage_metrics_api_calls_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("bandwidth_used_gb__gte", 0)),
                        name="ck_usage_metrics_bandwidth_used_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("images_processed__gte", 0)),
                        name="ck_usage_metrics_images_processed_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("storage_used_gb__gte", 0)),
                        name="ck_usage_metrics_storage_used_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("api_calls_limit__gt", 0)),
                        name="ck_usage_metrics_api_calls_limit_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("bandwidth_limit_gb__gt", 0)),
                        name="ck_usage_metrics_bandwidth_limit_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("images_limit__gt", 0)),
                        name="ck_usage_metrics_images_limit_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("storage_limit_gb__gt", 0)),
                        name="ck_usage_metrics_storage_limit_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ActivityLog",
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
                        db_constraint=False,
                        db_index=False,
                        help_text="Who did it. Empty: the system, or a profile that is gone.",
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="activity",
                        to="accounts.profile",
                    ),
                ),
                ("action", models.TextField()),
                ("resource_type", models.CharField(max_length=50, null=True)),
                ("resource_id", models.CharField(max_length=50, null=True)),
                ("metadata", models.JSONField(db_column="metadata_", null=True)),
                ("timestamp", models.DateTimeField(db_default=TransactionNow(), editable=False)),
            ],
            options={
                "db_table": "activity_logs",
            },
        ),
    ]
