"""Submissions: what was sent to a provider, and its answer."""

from django.db import models
from django.db.models import Q

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex
from providers.models.accounts import ProviderAccount


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
