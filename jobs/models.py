"""Generations: jobs, the workspaces they are kept in, the assets they make, and attempts at work."""

from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q, Value

from accounts.visibility import OTHERS_WORK, OwnedQuerySet, UserOwned, sees_all
from jobs.queue.items import (
    WorkItem,
    WorkItemQuerySet,
    priority_constraint,
    queue_constraints,
    queue_indexes,
)
from jobs.queue.kinds import all_kinds
from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex, column_indexes
from pixsim.core.formats import format_duration, format_size
from pixsim.core.priority import DEFAULT_PRIORITY, PRIORITY_HELP

KEEP_PER_ITEM = 20
KEEP_DAYS = 30
KEEP_ROLLUP_DAYS = 730


class WorkspaceQuerySet(UserOwned, OwnedQuerySet["Workspace"]):
    pass


class Workspace(models.Model):
    user = NamedForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="workspaces")
    name = models.CharField(max_length=255)
    description = models.CharField(null=True, blank=True)
    color = models.CharField(max_length=7, null=True, blank=True)
    icon = models.CharField(max_length=50, null=True, blank=True)
    parent_workspace = NamedForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="children"
    )
    tags = models.JSONField(null=True, blank=True)
    is_archived = models.BooleanField(db_default=False)
    is_template = models.BooleanField(db_default=False)
    is_public = models.BooleanField(db_default=False)
    total_jobs = models.IntegerField(db_default=0)
    total_assets = models.IntegerField(db_default=0)
    total_scenes = models.IntegerField(db_default=0)
    settings = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())
    last_activity_at = models.DateTimeField(null=True, blank=True)

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        db_table = "workspaces"
        indexes = column_indexes("workspaces", "is_archived", keys="parent_workspace user")

    def __str__(self) -> str:
        return self.name


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


class JobQuerySet(UserOwned, WorkItemQuerySet):
    pass


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

    objects: ClassVar[models.Manager["Job"]] = JobQuerySet.as_manager()

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


class MediaType(models.TextChoices):
    VIDEO = "video", "video"
    IMAGE = "image", "image"
    AUDIO = "audio", "audio"
    MODEL_3D = "model_3d", "3D model"
    OTHER = "other", "undecoded file"


class ContentDomain(models.TextChoices):
    GENERAL = "general", "general"
    ADULT = "adult", "adult"
    MEDICAL = "medical", "medical"
    SPORTS = "sports", "sports"
    FASHION = "fashion", "fashion"
    EDUCATION = "education", "education"


class SyncStatus(models.TextChoices):
    """Where the file is."""

    REMOTE = "remote", "at the provider"
    DOWNLOADING = "downloading", "downloading"
    DOWNLOADED = "downloaded", "here"
    ERROR = "error", "error"


class AssetQuerySet(UserOwned, OwnedQuerySet["Asset"]):
    pass


class Asset(models.Model):
    """A media file, its owner, its place and its origin."""

    user = NamedForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="assets")
    sha256 = models.CharField(max_length=64, null=True, blank=True)
    media_type = models.CharField(max_length=20, choices=MediaType)
    provider_id = models.CharField(max_length=64)
    provider_asset_id = models.CharField(max_length=128)
    provider_account = NamedForeignKey(
        "providers.ProviderAccount", models.PROTECT, null=True, blank=True, related_name="assets"
    )
    provider_uploads = models.JSONField(
        null=True, blank=True, help_text="The file's id at other providers, by provider."
    )
    remote_url = models.CharField()
    thumbnail_url = models.CharField(null=True, blank=True)
    thumbnail_sha256 = models.CharField(max_length=64, null=True, blank=True, editable=False)
    local_path = models.CharField(max_length=512, null=True, blank=True)
    mime_type = models.CharField(max_length=64, null=True, blank=True)
    width = models.IntegerField(null=True, blank=True)
    height = models.IntegerField(null=True, blank=True)
    is_upright = models.BooleanField(
        null=True,
        editable=False,
        help_text="Width and height are those of the upright picture; null: perhaps not.",
    )
    duration_sec = models.FloatField(null=True, blank=True)
    file_size_bytes = models.BigIntegerField(null=True, blank=True)
    fps = models.FloatField(null=True, blank=True)
    image_hash = models.CharField(max_length=64, null=True, blank=True)
    phash64 = models.BigIntegerField(
        null=True, blank=True, help_text="64-bit perceptual hash, as signed integer."
    )
    description = models.CharField(null=True, blank=True)
    tags = models.JSONField(null=True, blank=True)
    style_tags = models.JSONField(null=True, blank=True)
    content_domain = models.CharField(
        max_length=20, choices=ContentDomain, db_default=ContentDomain.GENERAL.value
    )
    content_category = models.CharField(max_length=64, null=True, blank=True)
    content_taxonomy = models.JSONField(null=True, blank=True)
    content_rating = models.CharField(max_length=32, db_default="general")
    age_restricted = models.BooleanField(db_default=False)
    searchable = models.BooleanField(db_default=True)
    original_source_url = models.CharField(null=True, blank=True)
    upload_method = models.CharField(max_length=32, null=True, blank=True)
    media_metadata = models.JSONField(null=True, blank=True)
    sync_status = models.CharField(
        max_length=20, choices=SyncStatus, db_default=SyncStatus.REMOTE.value
    )
    source_job = NamedForeignKey(
        "jobs.Job", models.SET_NULL, null=True, blank=True, related_name="made_assets"
    )
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    downloaded_at = models.DateTimeField(null=True, blank=True)
    last_accessed_at = models.DateTimeField(db_default=TransactionNow())

    objects = AssetQuerySet.as_manager()

    class Meta:
        db_table = "assets"
        indexes = [
            NamedIndex(
                fields=["provider_id", "provider_asset_id"], name="idx_asset_provider_lookup"
            ),
            NamedIndex(fields=["sync_status", "media_type"], name="idx_asset_sync_media"),
            NamedIndex(fields=["user", "created_at"], name="idx_asset_user_created"),
            *column_indexes(
                "assets",
                "age_restricted content_category content_domain content_rating created_at image_hash "
                "last_accessed_at phash64 provider_asset_id provider_id searchable sha256 sync_status",
                keys="provider_account source_job user",
            ),
            # The sweep of blobs asks which thumbnails are in use.
            NamedIndex(
                fields=["thumbnail_sha256"],
                name="ix_assets_thumbnail_sha256",
                condition=Q(thumbnail_sha256__isnull=False),
            ),
        ]
        constraints = [
            # Per owner; in the older system two owners could not have the same file.
            models.UniqueConstraint(fields=["user", "sha256"], name="uq_assets_user_sha256"),
            *checks(
                "assets",
                media_type_valid=Q(media_type__in=MediaType.values),
                content_domain_valid=Q(content_domain__in=ContentDomain.values),
                sync_status_valid=Q(sync_status__in=SyncStatus.values),
            ),
        ]

    def __str__(self) -> str:
        return self.description or f"{self.media_type} {self.pk}"

    @property
    def undecoded(self) -> str:
        """Return why the file was kept without being decoded; empty for all others."""
        facts = self.media_metadata if isinstance(self.media_metadata, dict) else {}
        return str(facts.get("undecoded", "")) if self.media_type == MediaType.OTHER else ""

    @property
    def measures(self) -> str:
        """Return pixels, length and bytes in words, as far as they are known."""
        parts = []
        if self.width and self.height:
            parts.append(f"{self.width:,} × {self.height:,}")
        if self.duration_sec:
            parts.append(format_duration(self.duration_sec))
        if self.file_size_bytes is not None:
            parts.append(format_size(self.file_size_bytes))
        return ", ".join(parts)


class AttemptOutcome(models.TextChoices):
    COMPLETED = "completed", "completed"
    RETRY = "retry", "failed, tried again"
    FAILED = "failed", "failed"
    LOST = "lost", "worker died or stalled"
    GIVEN_BACK = "given_back", "stopped, given back"
    TAKEN = "taken", "taken from the worker by hand"


class WorkAttemptQuerySet(models.QuerySet["WorkAttempt"]):
    def visible_to(self, user: Any) -> Self:
        """Return the attempts at items that the user may see; of a deleted item, who sees all."""
        if sees_all(user):
            return self.all()
        seen = Q(pk__in=[])
        for kind in all_kinds():
            items = kind.model._default_manager.all()
            if isinstance(items, OwnedQuerySet):
                keys = items.visible_to(user).order_by().values("pk")
                seen |= Q(kind=kind.name, item_id__in=keys)
        return self.filter(seen)


class WorkAttempt(models.Model):
    """One attempt at a work item, written by the statement that ends it (see `jobs.queue.sql`).

    It refers to its item by kind and id, without a foreign key: it outlives the item. `queue
    maintain` keeps the last KEEP_PER_ITEM of an item, for KEEP_DAYS days.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(
        max_length=20, help_text="The kind of work: chunk, discovery, generation."
    )
    item_id = models.IntegerField(help_text="The key of the chunk, source or job.")
    number = models.IntegerField(help_text="Which claim of the item it was, from 1.")
    outcome = models.CharField(max_length=20, choices=AttemptOutcome)
    worker = models.CharField(max_length=255, null=True, blank=True, help_text="name@host:pid")
    task_id = models.CharField(
        max_length=255, null=True, blank=True, help_text="The Celery task in which it was done."
    )
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    error_class = models.CharField(
        max_length=100, null=True, blank=True, help_text="The kind of error; empty without one."
    )
    error_message = models.TextField(null=True, blank=True)
    details = models.JSONField(
        null=True, blank=True, help_text="What it did, in numbers: pictures stored, bytes …"
    )

    objects = WorkAttemptQuerySet.as_manager()

    class Meta:
        db_table = "work_attempts"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "item_id", "number"], name="uq_work_attempts_item_number"
            ),
            *checks("work_attempts", outcome_valid=Q(outcome__in=AttemptOutcome.values)),
        ]
        indexes = [
            # Trends, the newest first, and what is too old to keep.
            NamedIndex(fields=["ended_at"], name="ix_work_attempts_ended_at"),
            # What failed, by the kind of error.
            NamedIndex(
                fields=["error_class", "ended_at"],
                name="ix_work_attempts_error_class",
                condition=Q(error_class__isnull=False),
            ),
            # Items with more attempts than are kept.
            NamedIndex(
                fields=["kind", "item_id"],
                name="ix_work_attempts_many",
                condition=Q(number__gt=KEEP_PER_ITEM),
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.kind} {self.item_id}"

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.started_at).total_seconds()


class Worker(models.Model):
    """A worker, by its parent process, which keeps this row fresh (see `jobs.queue.worker.registry`).

    What its processes have in hand stands in the work rows, under `name:pid`.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=255, help_text="Celery's node name, name@host.")
    host = models.CharField(max_length=255)
    pid = models.IntegerField(help_text="Of its parent process.")
    processes = models.IntegerField(help_text="How many items it works on at once.")
    version = models.CharField(max_length=50, help_text="Of PixSim.")
    started_at = models.DateTimeField(db_default=TransactionNow())
    last_seen_at = models.DateTimeField(db_default=TransactionNow())
    is_draining = models.BooleanField(
        db_default=False, help_text="It ends what it has in hand, and takes nothing more."
    )

    class Meta:
        db_table = "workers"
        constraints = [
            models.UniqueConstraint(fields=["name", "pid"], name="uq_workers_name_pid"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


class QueuePauseQuerySet(models.QuerySet["QueuePause"]):
    def visible_to(self, user: Any) -> Self:
        """Return the pauses but those of other people, whose name they tell."""
        if user.has_perm(OTHERS_WORK):
            return self.all()
        profile = getattr(user, "profile", None)
        return self.filter(~Q(scope="owner") | Q(key=str(profile and profile.pk)))


class QueuePause(models.Model):
    """Something that people have paused (see `jobs.queue.pauses`)."""

    id = models.BigAutoField(primary_key=True)
    scope = models.CharField(
        max_length=10, choices=[("kind", "kind of work"), ("owner", "owner"), ("host", "host")]
    )
    key = models.CharField(
        max_length=255,
        help_text="A kind (chunk, discovery, generation), a profile's id, or a host name.",
    )
    reason = models.CharField(max_length=255, blank=True, db_default="")
    paused_by = models.CharField(max_length=255, blank=True, db_default="")
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    objects = QueuePauseQuerySet.as_manager()

    class Meta:
        db_table = "queue_pauses"
        constraints = [
            models.UniqueConstraint(fields=["scope", "key"], name="uq_queue_pauses_scope_key"),
            models.CheckConstraint(
                name="ck_queue_pauses_scope_valid",
                condition=Q(scope__in=["kind", "owner", "host"]),
            ),
            # The queue's statements compare it with the owners of items.
            models.CheckConstraint(
                name="ck_queue_pauses_owner_is_id",
                condition=~Q(scope="owner")
                | Q(key__regex=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"


class WorkRollup(models.Model):
    """The attempts at one kind of work that ended within one hour: what trends are made of.

    The active sweeper counts them from `work_attempts` (see `jobs.queue.ops.trends`). `queue maintain`
    keeps KEEP_ROLLUP_DAYS days, and adds what is older to one row, so that totals never decrease.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=20)
    hour = models.DateTimeField(help_text="When the hour began; 1970: all that is too old to keep.")
    counted_until = models.DateTimeField(help_text="What ended later is not counted yet.")
    completed = models.BigIntegerField()
    failed = models.BigIntegerField()
    retries = models.BigIntegerField(help_text="Failed, and tried again.")
    lost = models.BigIntegerField(help_text="The worker died or stalled.")
    given_back = models.BigIntegerField()
    seconds = models.FloatField(help_text="How long the completed and the failed took, in all.")
    seconds_max = models.FloatField()
    times = ArrayField(
        models.BigIntegerField(),
        help_text="How many of these took up to each of TIME_BOUNDS seconds, and longer.",
    )

    class Meta:
        db_table = "work_rollups"
        constraints = [
            models.UniqueConstraint(fields=["kind", "hour"], name="uq_work_rollups_kind_hour")
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.hour:%Y-%m-%d %H:%M}"


class SharedFigures(models.Model):
    """Figures for pages, computed by one process for all who look (see `jobs.queue.ops.shared`)."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    value = models.JSONField(null=True)
    taken_at = models.DateTimeField(null=True)
    valid_until = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(
        null=True, help_text="A process computes them, and has died if they do not come by then."
    )

    class Meta:
        db_table = "shared_figures"
        constraints = [models.UniqueConstraint(fields=["name"], name="uq_shared_figures_name")]

    def __str__(self) -> str:
        return self.name
