"""Outside generators: our accounts there, their credits, our submissions, and webhooks that came."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from accounts.visibility import OwnedQuerySet, UserOwned
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


class ProviderAccountQuerySet(OwnedQuerySet["ProviderAccount"]):
    owner_path = "user"

    def _is_own(self, user: Any) -> Q:
        return Q(user=user.pk)


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

    objects = ProviderAccountQuerySet.as_manager()

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


class ModelRefusal(models.Model):
    """A model that an account may not use, as its provider last said."""

    id = models.BigAutoField(primary_key=True)
    account = NamedForeignKey(ProviderAccount, models.CASCADE, related_name="model_refusals")
    model = models.CharField(max_length=100)
    message = models.CharField(help_text="The provider's words.")
    refused_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    class Meta:
        db_table = "provider_model_refusals"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "model"], name="uq_provider_model_refusals_account_model"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} may not use {self.model}"


class SubmissionStatus(models.TextChoices):
    PENDING = "pending", "pending"
    ACCEPTED = "accepted", "accepted"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    FILTERED = "filtered", "filtered"
    CANCELLED = "cancelled", "cancelled"
    TIMED_OUT = "timed_out", "timed out"
    UNKNOWN = "unknown", "unknown"


LIVE = [
    SubmissionStatus.PENDING.value,
    SubmissionStatus.ACCEPTED.value,
    SubmissionStatus.UNKNOWN.value,
]
"""In these states a submission occupies a slot of its account."""
IS_OURS = Q(reference__isnull=False)
IS_LIVE = IS_OURS & Q(status__in=LIVE)


class AccountSource(models.TextChoices):
    """Where the value of `account` comes from."""

    RECORDED = "recorded", "recorded"
    BACKFILL = "backfill", "guessed by the backfill"
    EVIDENCE = "evidence", "named in payload or response"
    ONLY_ACCOUNT = "only_account", "the only account of its provider"


class SubmissionQuerySet(UserOwned, OwnedQuerySet["ProviderSubmission"]):
    owner_path = "job__user"


class ProviderSubmission(models.Model):
    """One attempt of a job at a provider, by one account.

    The row is written before the provider is called: it is the record of intent, and while it is
    live it is the slot. Rows without a `reference` are from an older system and occupy no slot.
    """

    job = NamedForeignKey("jobs.Job", models.PROTECT, related_name="submissions")
    provider_id = models.CharField(max_length=50)
    payload = models.JSONField(null=True, blank=True)
    response = models.JSONField(null=True, blank=True)
    provider_job_id = models.CharField(max_length=200, null=True, blank=True)
    retry_attempt = models.IntegerField(db_default=0, help_text="0 is the first attempt.")
    previous_submission = NamedForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    submitted_at = models.DateTimeField(db_default=TransactionNow())
    responded_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.IntegerField(null=True, blank=True, help_text="Milliseconds.")
    status = models.CharField(
        max_length=20, choices=SubmissionStatus, db_default=SubmissionStatus.PENDING.value
    )
    account = NamedForeignKey(ProviderAccount, models.PROTECT, related_name="submissions")
    account_source = models.CharField(
        max_length=20, choices=AccountSource, db_default=AccountSource.RECORDED.value
    )

    reference = models.CharField(
        max_length=40,
        null=True,
        blank=True,
        help_text="Our id of it, sent to the provider.",
    )
    job_lease = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="The job's fencing token in this attempt."
    )
    operation_type = models.CharField(max_length=32, null=True, blank=True)
    model = models.CharField(max_length=100, null=True, blank=True)
    choice = models.TextField(null=True, blank=True, help_text="Why this account was chosen.")
    accepted_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="After this time the provider is asked only once more.",
    )
    next_poll_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it is processed next. Empty: nothing is left to do.",
    )
    polls = models.IntegerField(db_default=0)
    fetches = models.IntegerField(
        db_default=0, help_text="How often fetching its files was tried again."
    )
    progress = models.FloatField(null=True, blank=True, help_text="0 to 1.")
    outputs = models.JSONField(
        null=True, blank=True, help_text="The files that were made: addresses, or blobs."
    )
    cost = models.FloatField(
        null=True, blank=True, help_text="In the provider's credits. Empty: not reported."
    )
    error_class = models.CharField(max_length=32, null=True, blank=True)
    error_message = models.TextField(null=True, blank=True)

    objects = SubmissionQuerySet.as_manager()

    class Meta:
        db_table = "provider_submissions"
        indexes = [
            NamedIndex(fields=["job", "retry_attempt"], name="idx_submission_job_attempt"),
            NamedIndex(
                fields=["provider_id", "provider_job_id"], name="idx_submission_provider_job"
            ),
            NamedIndex(fields=["status", "submitted_at"], name="idx_submission_status_submitted"),
            NamedIndex(fields=["account"], name="ix_provider_submissions_account_id"),
            NamedIndex(fields=["job"], name="ix_provider_submissions_job_id"),
            NamedIndex(fields=["provider_id"], name="ix_provider_submissions_provider_id"),
            NamedIndex(fields=["provider_job_id"], name="ix_provider_submissions_provider_job_id"),
            NamedIndex(fields=["status"], name="ix_provider_submissions_status"),
            NamedIndex(fields=["submitted_at"], name="ix_provider_submissions_submitted_at"),
            # Slots in use, counted under the account's lock.
            NamedIndex(fields=["account"], name="ix_provider_submissions_live", condition=IS_LIVE),
            NamedIndex(
                fields=["next_poll_at"],
                name="ix_provider_submissions_due",
                condition=Q(next_poll_at__isnull=False),
            ),
            # The latest of a provider: its circuit breaker, and the expected duration of an operation.
            NamedIndex(
                fields=["provider_id", "submitted_at"],
                name="ix_provider_submissions_latest",
                condition=IS_OURS,
            ),
            # Health of an account.
            NamedIndex(
                fields=["account", "responded_at"],
                name="ix_provider_submissions_recent",
                condition=IS_OURS & Q(responded_at__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["reference"], name="uq_provider_submissions_reference"),
            models.UniqueConstraint(
                fields=["job"], name="uq_provider_submissions_live", condition=IS_LIVE
            ),
            models.UniqueConstraint(
                fields=["provider_id", "account", "provider_job_id"],
                name="uq_provider_submissions_provider_job",
                condition=IS_OURS & Q(provider_job_id__isnull=False),
            ),
            models.CheckConstraint(
                name="ck_provider_submissions_status_valid",
                condition=Q(reference__isnull=True) | Q(status__in=SubmissionStatus.values),
            ),
            models.CheckConstraint(
                name="ck_provider_submissions_account_source_valid",
                condition=Q(account_source__in=AccountSource.values),
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.retry_attempt} of job {self.job_id} at {self.provider_id}"


class ProviderWebhook(models.Model):
    """A recorded event. Stored for longer than adapters accept an old one."""

    id = models.BigAutoField(primary_key=True)
    provider_id = models.CharField(max_length=50)
    event_id = models.CharField(
        max_length=200, help_text="The provider's id, same when sent again."
    )
    received_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    class Meta:
        db_table = "provider_webhooks"
        constraints = [
            models.UniqueConstraint(
                fields=["provider_id", "event_id"], name="uq_provider_webhooks_event"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} of {self.provider_id}"
