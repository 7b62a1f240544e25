"""Jobs: generations that people asked for."""

from django.conf import settings
from django.db import models
from django.db.models import Q, Value

from jobs.queue.items import WorkItem, priority_constraint, queue_constraints, queue_indexes
from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex, column_indexes
from pixsim.core.priority import DEFAULT_PRIORITY, PRIORITY_HELP


class OperationType(models.TextChoices):
    TEXT_TO_IMAGE = "text_to_image", "text to image"
    IMAGE_TO_IMAGE = "image_to_image", "image to image"
    TEXT_TO_VIDEO = "text_to_video", "text to video"
    IMAGE_TO_VIDEO = "image_to_video", "image to video"
    VIDEO_EXTEND = "video_extend", "extend a video"
    VIDEO_TRANSITION = "video_transition", "video transition"
    FUSION = "fusion", "fusion"
    SONG = "song", "song"


class JobStatus(models.TextChoices):
    PENDING = "pending", "pending"
    PROCESSING = "processing", "processing"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class ParamsSource(models.TextChoices):
    """The origin of params that did not come with the job."""

    PAYLOAD = "payload", "payload of its first submission"


OPEN = ("pending", "processing")
ENDED = ("completed", "failed", "cancelled")
FINISHED = "completed_at"


class Job(WorkItem):
    """One generation: an operation at a provider with its parameters.

    A work item of the queue, in the older system's columns: `finished_at` of other kinds is
    `completed_at` here. After a provider has accepted the job, `lease_id` stays as the token of
    that attempt, and `lease_expires_at` is empty, for no worker holds the job.
    """

    ENDED = ENDED
    FINISHED = FINISHED
    finished_at = None
    owner = NamedForeignKey(
        "accounts.Profile",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Whose window counts: the user's profile. Empty: the system itself.",
    )

    user = NamedForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="jobs")
    operation_type = models.CharField(max_length=32, choices=OperationType)
    provider_id = models.CharField(max_length=50)
    workspace = NamedForeignKey(
        "jobs.Workspace", models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    name = models.CharField(max_length=255, null=True, blank=True)
    description = models.CharField(null=True, blank=True)
    priority = models.IntegerField(db_default=DEFAULT_PRIORITY, help_text=PRIORITY_HELP)
    scheduled_at = models.DateTimeField(null=True, blank=True, help_text="Not before this time.")
    parent_job = NamedForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="children"
    )
    status = models.CharField(max_length=20, choices=JobStatus, db_default=JobStatus.PENDING.value)
    error_message = models.CharField(null=True, blank=True)
    retry_count = models.IntegerField(db_default=0)
    asset = NamedForeignKey(
        "jobs.Asset",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="What it made.",
    )
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    params = models.JSONField(db_default=Value({}, models.JSONField()), blank=True)
    params_source = models.CharField(
        max_length=20,
        choices=ParamsSource,
        null=True,
        blank=True,
        editable=False,
        help_text="Empty: they came with the job.",
    )
    held = models.BooleanField(
        db_default=False,
        help_text="Waits: for its time, its parent job, a retry, or, if it was adopted, for an admin.",
    )
    model = models.CharField(
        max_length=100, null=True, blank=True, help_text="Of the provider. Empty: its default."
    )
    params_hash = models.CharField(
        max_length=64, null=True, blank=True, editable=False, help_text="sha256 of the params."
    )
    idempotency_key = models.CharField(
        max_length=100, null=True, blank=True, help_text="Makes one job, however often it is sent."
    )
    run = models.IntegerField(
        db_default=0, editable=False, help_text="How often it was started anew by hand."
    )
    estimate = models.IntegerField(
        null=True, blank=True, editable=False, help_text="Credits held for it."
    )
    cost = models.IntegerField(
        null=True, blank=True, editable=False, help_text="Credits it took in the end."
    )
    error_class = models.CharField(max_length=32, null=True, blank=True, editable=False)

    class Meta:
        db_table = "jobs"
        indexes = [
            NamedIndex(fields=["priority", "created_at"], name="idx_job_priority_created"),
            NamedIndex(fields=["status", "created_at"], name="idx_job_status_created"),
            NamedIndex(fields=["user", "status", "created_at"], name="idx_job_user_status_created"),
            NamedIndex(fields=["workspace", "created_at"], name="idx_job_workspace"),
            *column_indexes(
                "jobs",
                "created_at priority provider_id scheduled_at status",
                keys="asset parent_job user workspace",
            ),
            *queue_indexes("jobs", claimed_by=["provider_id"], ended=ENDED, finished=FINISHED),
        ]
        constraints = [
            *checks(
                "jobs",
                operation_type_valid=Q(operation_type__in=OperationType.values),
                status_valid=Q(status__in=JobStatus.values),
                params_source_valid=Q(params_source__in=ParamsSource.values),
            ),
            priority_constraint("jobs"),
            *queue_constraints("jobs"),
            models.UniqueConstraint(
                fields=["user", "idempotency_key"], name="uq_jobs_user_idempotency_key"
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"job {self.pk}"
