"""An account with an outside generator, and the credit it has there."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from pixsim.core.crypto import EncryptedJSONField, EncryptedTextField
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex


class AccountStatus(models.TextChoices):
    ACTIVE = "active", "active"
    EXHAUSTED = "exhausted", "exhausted"
    ERROR = "error", "error"
    DISABLED = "disabled", "disabled"
    RATE_LIMITED = "rate_limited", "rate limited"


class ProviderAccount(models.Model):
    """An account at a provider, with its secrets, limits and statistics.

    The secrets are encrypted at rest and decrypted when they are read (`pixsim.core.crypto`). An
    account with submissions cannot be deleted, only disabled, because they refer to it.
    """

    user = NamedForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="provider_accounts",
        help_text="Whose account it is. Empty: the system's.",
    )
    is_private = models.BooleanField(
        default=False, db_default=False, help_text="Only its owner's jobs may use it."
    )
    provider_id = models.CharField(max_length=50, help_text="The adapter's name.")
    email = models.CharField(max_length=255)
    password = EncryptedTextField(null=True, blank=True)
    jwt_token = EncryptedTextField(null=True, blank=True)
    api_key = EncryptedTextField(null=True, blank=True)
    api_key_paid = EncryptedTextField(null=True, blank=True)
    cookies = EncryptedJSONField(null=True, blank=True)
    nickname = models.CharField(max_length=100, null=True, blank=True)
    provider_user_id = models.CharField(max_length=100, null=True, blank=True)
    provider_metadata = models.JSONField(null=True, blank=True)
    total_videos_generated = models.IntegerField(default=0, db_default=0)
    total_videos_failed = models.IntegerField(default=0, db_default=0)
    failure_streak = models.IntegerField(
        default=0, db_default=0, help_text="Failures since the last success."
    )
    status = models.CharField(
        max_length=20,
        choices=AccountStatus,
        default=AccountStatus.ACTIVE,
        db_default=AccountStatus.ACTIVE.value,
    )
    last_error = models.CharField(null=True, blank=True)
    last_used = models.DateTimeField(null=True, blank=True)
    cooldown_until = models.DateTimeField(
        null=True, blank=True, help_text="Takes no work before this time."
    )
    success_rate = models.FloatField(default=1.0, db_default=1.0, help_text="0 to 1.")
    avg_generation_time_sec = models.FloatField(null=True, blank=True)
    max_concurrent_jobs = models.IntegerField(
        default=2, db_default=2, help_text="Live submissions it may carry at once."
    )
    current_processing_jobs = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="The older system's counter; no longer kept.",
    )
    priority = models.IntegerField(default=0, db_default=0, help_text="Higher is preferred.")
    max_daily_videos = models.IntegerField(null=True, blank=True)
    videos_today = models.IntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())
    ema_generation_time_sec = models.FloatField(
        null=True, blank=True, help_text="Moving average of the generation time."
    )
    ema_alpha = models.FloatField(
        default=0.3, db_default=0.3, help_text="Weight of the newest sample in it, 0 to 1."
    )

    class Meta:
        db_table = "provider_accounts"
        indexes = [
            NamedIndex(fields=["provider_id"], name="ix_provider_accounts_provider_id"),
            NamedIndex(fields=["status"], name="ix_provider_accounts_status"),
            NamedIndex(fields=["user"], name="ix_provider_accounts_user_id"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["email", "provider_id", "user"],
                name="uq_provider_account_email_provider_user",
            ),
            models.CheckConstraint(
                name="ck_provider_accounts_status_valid",
                condition=Q(status__in=AccountStatus.values),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.nickname or self.email} ({self.provider_id})"

    # Properties

    @property
    def stored_credentials(self) -> list[str]:
        """Return the names of the secrets that are set; nothing is decrypted."""
        return [
            field.name
            for field in self._meta.concrete_fields
            if isinstance(field, EncryptedTextField) and field.is_set(self)
        ]


class ProviderCredit(models.Model):
    """The amount of one type of credit that an account has."""

    account = NamedForeignKey(ProviderAccount, models.CASCADE, related_name="credits")
    credit_type = models.CharField(max_length=50)
    amount = models.IntegerField(default=0, db_default=0)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    class Meta:
        db_table = "provider_credits"
        indexes = [
            NamedIndex(fields=["credit_type", "amount"], name="idx_credit_type_amount"),
            NamedIndex(fields=["account"], name="ix_provider_credits_account_id"),
            NamedIndex(fields=["credit_type"], name="ix_provider_credits_credit_type"),
        ]
        constraints = [
            # An expression makes it a unique index and not a constraint, as in the older system.
            models.UniqueConstraint(F("account"), F("credit_type"), name="idx_account_credit_type"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.credit_type}"
