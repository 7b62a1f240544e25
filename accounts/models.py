"""People and what they may use: profiles, credits, usage, activity; and tables that wait for code."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.visibility import PERMISSIONS, OwnedQuerySet, Row
from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey, uuid_key
from pixsim.core.db.indexes import NamedIndex


def _decimal(default: str) -> Any:
    return models.DecimalField(max_digits=10, decimal_places=2, db_default=Decimal(default))


def month_of(moment: datetime) -> tuple[int, int]:
    """Return the year and the month, in UTC."""
    moment = moment.astimezone(UTC)
    return moment.year, moment.month


class TierName(models.TextChoices):
    FREE = "FREE", "FREE"
    PRO = "PRO", "PRO"
    ENTERPRISE = "ENTERPRISE", "ENTERPRISE"


class Role(models.TextChoices):
    USER = "user", "user"
    ADMIN = "admin", "admin"


class ProfileQuerySet(OwnedQuerySet["Profile"]):
    owner_path = "pk"

    def by_tier(self, tier: str) -> Self:
        """Profiles of one tier; reads the index on `user_tier`."""
        return self.filter(user_tier=tier)


class Profile(models.Model):
    """Owns work, and has the tier that says how much.

    E-mail, name and role follow the log-in (`user`). Permissions are the log-in's alone: `role`
    is kept for readers of the older table and grants nothing. When the log-in is deleted the
    profile and its work stay.
    """

    id = uuid_key()
    email = models.CharField("e-mail", max_length=255)
    full_name = models.CharField(max_length=100, null=True, blank=True)
    avatar_url = models.TextField(null=True, blank=True)
    role = models.CharField(max_length=20, default=Role.USER, db_default=Role.USER.value)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())
    user_tier = models.CharField(
        "tier",
        max_length=20,
        choices=TierName,
        default=TierName.FREE,
        db_default=TierName.FREE.value,
    )
    # Ours from here on.
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_constraint=False,  # named, and acts in the database: a migration adds it
        related_name="profile",
        help_text="The log-in. Empty: nobody can log in as this profile.",
    )

    objects = ProfileQuerySet.as_manager()

    class Meta:
        db_table = "profiles"
        permissions = PERMISSIONS
        indexes = [
            # Users by tier: the admin's filter and the tier distribution.
            NamedIndex(fields=["user_tier"], name="ix_profiles_user_tier"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["email"], name="profiles_email_key"),
            *checks("profiles", user_tier_valid=Q(user_tier__in=TierName.values)),
        ]

    def __str__(self) -> str:
        return self.email


class RecordQuerySet(OwnedQuerySet[Row]):
    owner_path = "user"


class CreditAccount(models.Model):
    """The balance of one profile, in credits. The ledger's sum equals it.

    A month begins in UTC. `accounts.credits` is the only writer.
    """

    id = uuid_key()
    user = NamedForeignKey(Profile, models.CASCADE, related_name="credit_accounts")
    current_balance = models.IntegerField(db_default=0)
    # What was used and is held in the month of `updated_at`: read `used_this_month`.
    monthly_usage = models.IntegerField(db_default=0)
    # Of the older schema; not written, since it would be out of date each morning: read `used_a_day`.
    average_daily_usage = _decimal("0.00")
    auto_refill_enabled = models.BooleanField(db_default=False)
    refill_threshold = models.IntegerField(db_default=100)
    refill_amount = models.IntegerField(db_default=500)
    monthly_limit = models.IntegerField(db_default=2000)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    objects: ClassVar[models.Manager["CreditAccount"]] = RecordQuerySet.as_manager()

    class Meta:
        db_table = "credit_accounts"
        constraints = [
            # As an expression it is a unique index, as in the older system, not a constraint.
            models.UniqueConstraint(F("user"), name="ix_credit_accounts_user_id"),
            *checks(
                "credit_accounts",
                balance_positive=Q(current_balance__gte=0),
                monthly_usage_positive=Q(monthly_usage__gte=0),
                refill_threshold_positive=Q(refill_threshold__gt=0),
                refill_amount_positive=Q(refill_amount__gt=0),
                monthly_limit_positive=Q(monthly_limit__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.current_balance} credits"

    # Properties

    @property
    def used_this_month(self) -> int:
        is_present = month_of(self.updated_at) == month_of(timezone.now())
        return self.monthly_usage if is_present else 0

    @property
    def used_a_day(self) -> float:
        """The use of this month by the day, today included."""
        return self.used_this_month / timezone.now().astimezone(UTC).day

    @property
    def is_due_for_refill(self) -> bool:
        return self.auto_refill_enabled and self.current_balance < self.refill_threshold


class TransactionType(models.TextChoices):
    PURCHASE = "purchase", "purchase"
    USAGE = "usage", "usage"
    REFUND = "refund", "refund"
    BONUS = "bonus", "bonus"
    HOLD = "hold", "held for work"
    CAPTURE = "capture", "captured from a hold"
    RELEASE = "release", "released from a hold"
    ADJUSTMENT = "adjustment", "adjustment"


class TransactionStatus(models.TextChoices):
    COMPLETED = "completed", "completed"
    PENDING = "pending", "pending"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class CreditTransaction(models.Model):
    """One entry of the ledger: what changed a balance, and the balance after it."""

    id = uuid_key()
    account = NamedForeignKey(CreditAccount, models.CASCADE, related_name="transactions")
    user = NamedForeignKey(Profile, models.CASCADE, related_name="credit_transactions")
    type = models.CharField(max_length=20, choices=TransactionType)
    description = models.TextField()
    amount = models.IntegerField(help_text="Credits; negative when they were spent.")
    balance_after = models.IntegerField()
    status = models.CharField(
        max_length=20, choices=TransactionStatus, db_default=TransactionStatus.COMPLETED.value
    )
    metadata = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    reference = models.CharField(
        max_length=100, null=True, blank=True, help_text="What it is for; booked once."
    )
    closes = NamedForeignKey(
        "self",
        models.RESTRICT,
        db_column="settles_id",
        null=True,
        blank=True,
        related_name="closings",
        help_text="The hold that this entry captures or releases; a hold is closed once.",
    )

    objects: ClassVar[models.Manager["CreditTransaction"]] = RecordQuerySet.as_manager()

    class Meta:
        db_table = "credit_transactions"
        # The indexes of the older system, a contract.
        indexes = [
            NamedIndex(fields=["account"], name="ix_credit_transactions_account_id"),
            NamedIndex(fields=["created_at"], name="ix_credit_transactions_created_at"),
            NamedIndex(fields=["status"], name="ix_credit_transactions_status"),
            NamedIndex(fields=["type"], name="ix_credit_transactions_type"),
            NamedIndex(fields=["user", "created_at"], name="ix_credit_transactions_user_created"),
            NamedIndex(fields=["user"], name="ix_credit_transactions_user_id"),
        ]
        constraints = [
            # Each owner's references are their own: those of two people may be the same.
            models.UniqueConstraint(
                fields=["reference", "user"], name="uq_credit_transactions_reference_user"
            ),
            models.UniqueConstraint(fields=["closes"], name="uq_credit_transactions_settles"),
            *checks(
                "credit_transactions",
                balance_positive=Q(balance_after__gte=0),
                status_valid=Q(status__in=TransactionStatus.values),
                type_valid=Q(type__in=TransactionType.values),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.amount:+d}"


_USED = ("api_calls", "bandwidth_used_gb", "images_processed", "storage_used_gb")
_LIMITS = ("api_calls_limit", "bandwidth_limit_gb", "images_limit", "storage_limit_gb")


def _above(bound: str, fields: Iterable[str]) -> dict[str, Q]:
    return {f"{name.removesuffix('_gb')}_positive": Q(**{f"{name}__{bound}": 0}) for name in fields}


class UsageMetrics(models.Model):
    """One profile's use on one day (UTC); written by `accounts.usage`.

    A gigabyte is 10^9 bytes. The byte columns are exact and the `_gb` columns are rounded from
    them; bytes are null where only gigabytes were ever recorded. The columns `…_limit…` are of the
    older schema: nothing reads them, since what somebody may do is in the table of tiers.
    """

    id = uuid_key()
    user = NamedForeignKey(Profile, models.CASCADE, related_name="usage_metrics")
    metric_date = models.DateField()
    images_processed = models.IntegerField(db_default=0)
    images_limit = models.IntegerField(db_default=10000)
    storage_used_gb = _decimal("0.00")
    storage_limit_gb = _decimal("100.00")
    api_calls = models.IntegerField(db_default=0)
    api_calls_limit = models.IntegerField(db_default=50000)
    bandwidth_used_gb = _decimal("0.00")
    bandwidth_limit_gb = _decimal("500.00")
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    # Ours from here on.
    storage_used_bytes = models.BigIntegerField(null=True, blank=True)
    bandwidth_used_bytes = models.BigIntegerField(null=True, blank=True)

    objects: ClassVar[models.Manager["UsageMetrics"]] = RecordQuerySet.as_manager()

    class Meta:
        db_table = "usage_metrics"
        verbose_name_plural = "usage metrics"
        # The indexes of the older system, a contract.
        indexes = [
            NamedIndex(fields=["metric_date"], name="ix_usage_metrics_metric_date"),
            NamedIndex(fields=["user", "metric_date"], name="ix_usage_metrics_user_date"),
            NamedIndex(fields=["user"], name="ix_usage_metrics_user_id"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "metric_date"], name="uq_usage_metrics_user_date"
            ),
            *checks(
                "usage_metrics",
                **_above("gte", _USED),
                **_above("gt", _LIMITS),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} on {self.metric_date}"


class ActivityLog(models.Model):
    """One entry of the log. Append-only; written by `accounts.activity.record`."""

    user = NamedForeignKey(
        Profile,
        models.SET_NULL,
        null=True,
        related_name="activity",
        help_text="Who did it. Empty: the system, or a profile that is gone.",
    )
    action = models.TextField()
    resource_type = models.CharField(max_length=50, null=True)
    resource_id = models.CharField(max_length=50, null=True)
    metadata = models.JSONField(db_column="metadata_", null=True)
    timestamp = models.DateTimeField(db_default=TransactionNow(), editable=False)
    # Ours from here on.
    request_id = models.CharField(max_length=64, null=True)

    objects: ClassVar[models.Manager["ActivityLog"]] = RecordQuerySet.as_manager()

    class Meta:
        db_table = "activity_logs"
        indexes = [
            # A person's activity, newest first, and the foreign key of a profile that is deleted.
            NamedIndex(fields=["user", "timestamp"], name="ix_activity_logs_user_timestamp"),
            # What people did to a thing, for its timeline.
            NamedIndex(
                fields=["resource_type", "resource_id"],
                name="ix_activity_logs_resource",
                condition=Q(resource_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.action


# Tables of the older system that nothing acts on yet: notifications, their preferences, API keys.

NOTIFICATION_TYPES = ["success", "info", "warning", "error"]
NOTIFICATION_CATEGORIES = ["crawl_job", "payment", "system", "security", "dataset", "project"]
DIGESTS = {"realtime": "at once", "daily": "daily", "weekly": "weekly", "never": "never"}
KEY_STATUSES = ["active", "revoked", "expired"]


def _named(values: Iterable[str]) -> dict[str, str]:
    return {value: value.replace("_", " ") for value in values}


class Notification(models.Model):
    """One message to one person."""

    user = NamedForeignKey(Profile, models.CASCADE, related_name="notifications")
    title = models.CharField(max_length=255)
    message = models.TextField()
    type = models.CharField(max_length=50, choices=_named(NOTIFICATION_TYPES))
    category = models.CharField(
        max_length=50, choices=_named(NOTIFICATION_CATEGORIES), null=True, blank=True
    )
    icon = models.CharField(max_length=50, null=True, blank=True)
    color = models.CharField(max_length=20, null=True, blank=True)
    action_url = models.TextField(null=True, blank=True)
    action_label = models.CharField(max_length=100, null=True, blank=True)
    is_read = models.BooleanField(db_default=False)
    read_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    class Meta:
        db_table = "notifications"
        # The indexes of the older system, a contract.
        indexes = [
            NamedIndex(fields=["category"], name="ix_notifications_category"),
            NamedIndex(fields=["created_at"], name="ix_notifications_created_at"),
            NamedIndex(fields=["is_read"], name="ix_notifications_is_read"),
            NamedIndex(fields=["type"], name="ix_notifications_type"),
            NamedIndex(fields=["user", "created_at"], name="ix_notifications_user_created"),
            NamedIndex(fields=["user"], name="ix_notifications_user_id"),
            NamedIndex(
                fields=["user", "is_read"],
                name="ix_notifications_user_unread",
                condition=Q(is_read=models.Value(False)),
            ),
        ]
        constraints = [
            *checks(
                "notifications",
                category_valid=Q(category__in=NOTIFICATION_CATEGORIES) | Q(category__isnull=True),
                type_valid=Q(type__in=NOTIFICATION_TYPES),
            ),
        ]

    def __str__(self) -> str:
        return self.title


class NotificationPreferences(models.Model):
    """How one person wants to be told. Every profile has its row; nothing is sent yet."""

    id = uuid_key()
    user = NamedForeignKey(Profile, models.CASCADE, related_name="notification_preferences")
    email_enabled = models.BooleanField(db_default=True)
    push_enabled = models.BooleanField(db_default=False)
    sms_enabled = models.BooleanField(db_default=False)
    crawl_jobs_enabled = models.BooleanField(db_default=True)
    datasets_enabled = models.BooleanField(db_default=True)
    billing_enabled = models.BooleanField(db_default=True)
    security_enabled = models.BooleanField(db_default=True)
    marketing_enabled = models.BooleanField(db_default=False)
    product_updates_enabled = models.BooleanField(db_default=True)
    digest_frequency = models.CharField(max_length=20, choices=DIGESTS, db_default="daily")
    quiet_hours_start = models.TimeField(null=True, blank=True)
    quiet_hours_end = models.TimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    class Meta:
        db_table = "notification_preferences"
        verbose_name_plural = "notification preferences"
        constraints = [
            # As an expression it is a unique index, as in the older system, not a constraint.
            models.UniqueConstraint(F("user"), name="ix_notification_preferences_user_id"),
            *checks(
                "notification_preferences",
                digest_frequency_valid=Q(digest_frequency__in=list(DIGESTS)),
            ),
        ]

    def __str__(self) -> str:
        return f"preferences of {self.user_id}"


class ApiKey(models.Model):
    """A key by which a program acts for a profile."""

    id = uuid_key()
    user = NamedForeignKey(Profile, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200)
    key_hash = models.CharField(max_length=255, editable=False)
    key_prefix = models.CharField(max_length=20)
    status = models.CharField(max_length=20, choices=_named(KEY_STATUSES), db_default="active")
    permissions = models.JSONField(
        db_default=models.Value([], models.JSONField()), blank=True, help_text="Scopes."
    )
    rate_limit = models.IntegerField(db_default=1000)
    usage_count = models.IntegerField(db_default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.CharField(max_length=45, null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    class Meta:
        db_table = "api_keys"
        verbose_name = "API key"
        # The indexes of the older system, a contract.
        indexes = [
            NamedIndex(fields=["expires_at"], name="ix_api_keys_expires_at"),
            NamedIndex(fields=["key_hash"], name="ix_api_keys_key_hash"),
            NamedIndex(fields=["key_prefix"], name="ix_api_keys_key_prefix"),
            NamedIndex(fields=["last_used_at"], name="ix_api_keys_last_used_at"),
            NamedIndex(fields=["status"], name="ix_api_keys_status"),
            NamedIndex(fields=["user"], name="ix_api_keys_user_id"),
            NamedIndex(fields=["user", "status"], name="ix_api_keys_user_status"),
        ]
        constraints = [
            *checks(
                "api_keys",
                rate_limit_positive=Q(rate_limit__gt=0),
                status_valid=Q(status__in=KEY_STATUSES),
                usage_count_positive=Q(usage_count__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.key_prefix}…)"


class LogInAttempt(models.Model):
    """A log-in that failed or goes on, or the last one that succeeded from an address.

    Written by `accounts.throttling` alone, which says what is kept how long.
    """

    id = models.BigAutoField(primary_key=True)
    account = models.CharField(max_length=64, help_text="A keyed hash of the name that was typed.")
    address = models.CharField(
        max_length=50, help_text="An IPv4 address, or the /64 network of an IPv6 one."
    )
    at = models.DateTimeField()
    has_succeeded = models.BooleanField(db_default=False)

    class Meta:
        db_table = "log_in_attempts"
        indexes = [
            NamedIndex(fields=["account", "at"], name="ix_log_in_attempts_account_at"),
            NamedIndex(fields=["address", "at"], name="ix_log_in_attempts_address_at"),
            # For deleting failures that count no more.
            NamedIndex(
                fields=["at"],
                name="ix_log_in_attempts_failed_at",
                condition=Q(has_succeeded=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.address} at {self.at}"
