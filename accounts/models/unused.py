"""Tables of the older system that no code uses yet: API keys, notifications, preferences."""

from django.db import models
from django.db.models import F, Q

from accounts.models.profiles import Profile
from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey, uuid_key
from pixsim.core.db.indexes import NamedIndex


class NotificationType(models.TextChoices):
    SUCCESS = "success", "success"
    INFO = "info", "info"
    WARNING = "warning", "warning"
    ERROR = "error", "error"


class NotificationCategory(models.TextChoices):
    CRAWL_JOB = "crawl_job", "crawl job"
    PAYMENT = "payment", "payment"
    SYSTEM = "system", "system"
    SECURITY = "security", "security"
    DATASET = "dataset", "dataset"
    PROJECT = "project", "project"


class Notification(models.Model):
    """One message to one person."""

    user = NamedForeignKey(Profile, models.CASCADE, related_name="notifications")
    title = models.CharField(max_length=255)
    message = models.TextField()
    type = models.CharField(max_length=50, choices=NotificationType)
    category = models.CharField(max_length=50, choices=NotificationCategory, null=True, blank=True)
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
                category_valid=Q(category__in=NotificationCategory.values)
                | Q(category__isnull=True),
                type_valid=Q(type__in=NotificationType.values),
            ),
        ]

    def __str__(self) -> str:
        return self.title


class DigestFrequency(models.TextChoices):
    REALTIME = "realtime", "at once"
    DAILY = "daily", "daily"
    WEEKLY = "weekly", "weekly"
    NEVER = "never", "never"


class NotificationPreferences(models.Model):
    """How one person wants to be told; without a row the defaults hold."""

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
    digest_frequency = models.CharField(
        max_length=20, choices=DigestFrequency, db_default=DigestFrequency.DAILY.value
    )
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
                digest_frequency_valid=Q(digest_frequency__in=DigestFrequency.values),
            ),
        ]

    def __str__(self) -> str:
        return f"preferences of {self.user_id}"


class ApiKeyStatus(models.TextChoices):
    ACTIVE = "active", "active"
    REVOKED = "revoked", "revoked"
    EXPIRED = "expired", "expired"


class ApiKey(models.Model):
    """A key by which a program acts for a profile."""

    id = uuid_key()
    user = NamedForeignKey(Profile, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200)
    key_hash = models.CharField(max_length=255, editable=False)
    key_prefix = models.CharField(max_length=20)
    status = models.CharField(
        max_length=20, choices=ApiKeyStatus, db_default=ApiKeyStatus.ACTIVE.value
    )
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
                status_valid=Q(status__in=ApiKeyStatus.values),
                usage_count_positive=Q(usage_count__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.key_prefix}…)"
