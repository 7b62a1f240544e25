"""Datasets: a project's crawl jobs, their sources, chunks, candidates and images."""

from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL

from accounts.visibility import OwnedQuerySet
from crawler.labels import MAX_LABEL, MAX_NAME
from crawler.public import shown_address
from jobs.queue.items import (
    WorkItem,
    WorkItemQuerySet,
    priority_constraint,
    queue_constraints,
    queue_indexes,
    work_constraints,
)
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex
from pixsim.core.priority import DEFAULT_PRIORITY, PRIORITY_HELP
from pixsim.core.redaction import redact

MAX_CHUNK_SIZE = 100_000
RANGE_RULE = (
    'Must be {"start": s, "end": e} with whole numbers 0 <= s < e, '
    f"at most {MAX_CHUNK_SIZE:,} apart."
)
MAX_TRIES = 3


class ProjectQuerySet(OwnedQuerySet["Project"]):
    pass


class Project(models.Model):
    name = models.CharField(max_length=MAX_NAME)
    description = models.TextField(null=True, blank=True)
    owner = NamedForeignKey(
        "accounts.Profile",
        models.CASCADE,
        null=True,
        blank=True,
        db_column="user_id",
        related_name="projects",
        help_text="Empty: the system itself.",
    )
    status = models.CharField(max_length=20, default="active")
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    objects = ProjectQuerySet.as_manager()

    class Meta:
        db_table = "projects"
        indexes = [
            # An owner's projects, and the cascade when a profile is deleted.
            NamedIndex(fields=["owner"], name="ix_projects_user_id")
        ]

    def __str__(self) -> str:
        return self.name


class JobStatus(models.TextChoices):
    PENDING = "pending", "pending"
    RUNNING = "running", "running"
    PAUSED = "paused", "paused"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


OPEN_STATUSES = (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.PAUSED)
UNPLANNED_STATUSES = (JobStatus.PENDING, JobStatus.RUNNING)
"""A job without chunks is planned in these: older systems had running jobs without chunks."""


class CrawlJobQuerySet(OwnedQuerySet["CrawlJob"]):
    owner_path = "project__owner"

    def open(self) -> Self:
        return self.filter(status__in=OPEN_STATUSES)

    def unplanned(self) -> Self:
        """Accepted, with a source, but not yet split into chunks."""
        return self.filter(
            Q(sources__isnull=False), status__in=UNPLANNED_STATUSES, total_chunks=0
        ).distinct()


class CrawlJob(models.Model):
    """Asks for `max_images` distinct images of some class labels from its sources.

    The counters change with their rows, in the same transaction: `total_images` candidates found,
    `downloaded_images` pictures fetched and decoded, `valid_images` distinct images stored at an
    index, `active_chunks` chunks that have not ended.
    """

    project = NamedForeignKey("crawler.Project", models.CASCADE, related_name="crawl_jobs")
    name = models.CharField(max_length=MAX_NAME)
    keywords = models.JSONField(default=list, blank=True, help_text="Class labels.")
    max_images = models.IntegerField()
    status = models.CharField(max_length=20, choices=JobStatus, default=JobStatus.PENDING)
    progress = models.IntegerField(default=0, help_text="Per cent of max_images, 0 to 100.")
    total_images = models.IntegerField(default=0)
    downloaded_images = models.IntegerField(default=0)
    valid_images = models.IntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())
    total_chunks = models.IntegerField(default=0)
    active_chunks = models.IntegerField(default=0)
    completed_chunks = models.IntegerField(default=0)
    failed_chunks = models.IntegerField(default=0)
    task_ids = models.JSONField(default=list, blank=True)
    # Ours from here on.
    priority = models.IntegerField(db_default=DEFAULT_PRIORITY, help_text=PRIORITY_HELP)
    chunk_size = models.IntegerField(db_default=50, help_text="Images per chunk.")
    outcomes = models.JSONField(
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="How many candidates ended with which outcome.",
    )
    options = models.JSONField(
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="Limits and checks of this crawl; empty means the defaults.",
    )
    error_message = models.TextField(null=True, blank=True)

    objects = CrawlJobQuerySet.as_manager()

    class Meta:
        db_table = "crawl_jobs"
        indexes = [
            NamedIndex(fields=["project"], name="ix_crawl_jobs_project_id"),
            # Open jobs, for the planner, quotas and the status page.
            NamedIndex(
                fields=["status", "created_at"],
                name="ix_crawl_jobs_open",
                condition=Q(status__in=["pending", "running", "paused"]),
            ),
        ]
        constraints = [
            priority_constraint("crawl_jobs"),
            models.CheckConstraint(
                name="ck_crawl_jobs_chunk_size_positive", condition=Q(chunk_size__gte=1)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (#{self.pk})"

    # Properties

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def status_words(self) -> str:
        """Return the status as people read it."""
        is_short = self.status == JobStatus.COMPLETED and self.ended_short
        return "completed short" if is_short else self.status

    @property
    def ended_short(self) -> bool:
        """Return whether the job ended with fewer images than were asked for."""
        return not self.is_open and self.valid_images < self.max_images


LAST_REJECTION = "; the last one: "
"""In `CrawlSource.rejection`, between the first rejected entries and the last one."""


class CrawlSource(WorkItem):
    """One source of a job. Discovery is work of its own: this row is claimed like a chunk.

    `cursor` is the source's own bookmark (null: not begun); it advances in the transaction that
    inserts the candidates it stands for. Discovery that has enough waiting candidates gives the
    row back held, until chunks run low.
    """

    job = NamedForeignKey("crawler.CrawlJob", models.CASCADE, related_name="sources")
    kind = models.CharField(max_length=20, help_text="A folder's name in crawler/sources.")
    location = models.TextField(help_text="A path or URL.")
    label = models.CharField(
        max_length=MAX_LABEL, blank=True, db_default="", help_text="Class label of what it finds."
    )
    options = models.JSONField(
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="Options of this kind of source, such as url_column.",
    )
    cursor = models.JSONField(null=True, blank=True, editable=False)
    found = models.IntegerField(db_default=0, help_text="Candidates found so far.")
    rejected = models.IntegerField(
        db_default=0, help_text="Entries that are no usable address (malformed, wrong scheme)."
    )
    rejection = models.TextField(
        null=True, blank=True, help_text="The first rejected entries, and why."
    )

    class Meta:
        db_table = "crawl_sources"
        indexes = [
            NamedIndex(fields=["job"], name="ix_crawl_sources_job_id"),
            *queue_indexes("crawl_sources"),
        ]
        constraints = [*work_constraints("crawl_sources"), *queue_constraints("crawl_sources")]

    def __str__(self) -> str:
        return f"{self.kind} {redact(self.location)}"

    # Properties

    @property
    def last_rejection(self) -> str:
        """Return the last rejected entry and why: where a document breaks off, if it does."""
        return (self.rejection or "").rpartition(LAST_REJECTION)[2]


class JobChunkQuerySet(WorkItemQuerySet):
    owner_path = "job__project__owner"  # whoever sees a job sees its chunks

    def pending_of_job(self, job_id: int) -> Self:
        """Return the pending chunks of a job by priority, then age."""
        return self.pending().filter(job_id=job_id).order_by("-priority", "created_at")


class JobChunk(WorkItem):
    """One slice of a crawl job: fill image indices [start, end) of that job."""

    job = NamedForeignKey("crawler.CrawlJob", models.CASCADE, related_name="chunks")
    chunk_index = models.IntegerField()
    image_range = models.JSONField(help_text='{"start": s, "end": e}: indices s to e-1.')

    objects: ClassVar[models.Manager["JobChunk"]] = JobChunkQuerySet.as_manager()

    class Meta:
        db_table = "job_chunks"
        indexes = [
            # The five of the older system, which are a contract.
            NamedIndex(fields=["job"], name="ix_job_chunks_job_id"),
            NamedIndex(fields=["status"], name="ix_job_chunks_status"),
            NamedIndex(fields=["job", "status"], name="ix_job_chunks_job_status"),
            NamedIndex(fields=["priority", "created_at"], name="ix_job_chunks_priority_created"),
            NamedIndex(fields=["task_id"], name="ix_job_chunks_task_id"),
            *queue_indexes("job_chunks"),
        ]
        constraints = [
            *work_constraints("job_chunks"),
            *queue_constraints("job_chunks"),
            models.UniqueConstraint(fields=["job", "chunk_index"], name="uq_job_chunks_job_index"),
        ]

    def __str__(self) -> str:
        return f"chunk {self.chunk_index} of job {self.job_id}"

    # Properties

    @property
    def has_range(self) -> bool:
        """Return whether `image_range` is valid: rows inserted by hand may hold anything."""
        try:
            start, end = self.image_range["start"], self.image_range["end"]
        except (KeyError, TypeError, IndexError):
            return False
        return type(start) is type(end) is int and 0 <= start < end <= start + MAX_CHUNK_SIZE

    @property
    def start(self) -> int:
        return int(self.image_range["start"])

    @property
    def end(self) -> int:
        return int(self.image_range["end"])

    def clean_fields(self, exclude: Any = None) -> None:
        super().clean_fields(exclude)
        if (not exclude or "image_range" not in exclude) and not self.has_range:
            raise ValidationError({"image_range": RANGE_RULE})


class Outcome(models.TextChoices):
    """Every way in which a candidate can end; people see how many ended with which."""

    STORED = "stored"
    DUPLICATE_URL = "duplicate_url"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    ROBOTS = "robots"
    OPTED_OUT = "opted_out"
    UNREADABLE_FILE = "unreadable_file"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    THROTTLED = "throttled"
    DNS = "dns"
    CONNECT = "connect"
    BAD_ANSWER = "bad_answer"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_SLOW = "too_slow"
    BLOCKED_ADDRESS = "blocked_address"
    BAD_URL = "bad_url"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    NOT_AN_IMAGE = "not_an_image"
    BAD_FORMAT = "bad_format"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_SMALL = "too_small"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    ASPECT = "aspect"
    LICENCE = "licence"
    TOO_COSTLY = "too_costly"
    DECODER_CRASH = "decoder_crash"
    INTERNAL_ERROR = "internal_error"
    HOST_REFUSED = "host_refused"
    HOST_DOWN = "host_down"
    SURPLUS = "surplus"


class CandidateQuerySet(OwnedQuerySet["Candidate"]):
    owner_path = "job__project__owner"


class Candidate(models.Model):
    """A candidate is open (no outcome, no chunk), in flight (a chunk holds it) or closed (an outcome)."""

    id = models.BigAutoField(primary_key=True)
    job = NamedForeignKey("crawler.CrawlJob", models.CASCADE, related_name="candidates")
    chunk = NamedForeignKey(
        "crawler.JobChunk",
        models.SET_NULL,
        null=True,
        related_name="candidates",
        help_text="The chunk that holds it, or that closed it.",
    )
    url = models.TextField(
        help_text="A file address, or an http(s) address as it was found: it is sent like this."
    )
    url_key = models.BinaryField(max_length=32, help_text="sha256 of the canonical URL.")
    host = models.CharField(
        max_length=255, help_text="With the port, unless it is the scheme's own."
    )
    label = models.CharField(max_length=MAX_LABEL, db_default="")
    provenance = models.JSONField(
        null=True, help_text="What the source said: source, title, creator, licence, landing page."
    )
    outcome = models.CharField(max_length=20, choices=Outcome, null=True)
    detail = models.TextField(null=True, help_text="The refusal in words, or the signal behind it.")
    tries = models.SmallIntegerField(db_default=0)
    not_before = models.DateTimeField(null=True)
    waiting_since = models.DateTimeField(
        null=True, help_text="Since when it is not sent because its host rests."
    )
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    objects = CandidateQuerySet.as_manager()

    class Meta:
        db_table = "candidates"
        indexes = [
            # The claim for a chunk: open candidates of its job in the order in which they were found.
            NamedIndex(
                fields=["job", "id"],
                name="ix_candidates_open",
                condition=Q(outcome__isnull=True, chunk__isnull=True),
            ),
            # How many of a host are in flight in all workers together.
            NamedIndex(
                fields=["host"],
                name="ix_candidates_in_flight",
                condition=Q(outcome__isnull=True, chunk__isnull=False),
            ),
            # The candidates that a chunk holds: freed when its worker dies, or the chunk is deleted.
            NamedIndex(fields=["chunk"], name="ix_candidates_chunk_id"),
            # The closed candidates of a job by outcome.
            NamedIndex(fields=["job", "outcome"], name="ix_candidates_job_outcome"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["job", "url_key"], name="uq_candidates_job_url_key"),
            models.CheckConstraint(
                name="ck_candidates_outcome_valid",
                condition=Q(outcome__isnull=True) | Q(outcome__in=Outcome.values),
            ),
        ]

    def __str__(self) -> str:
        return shown_address(self.url, self.provenance)


class ImageQuerySet(OwnedQuerySet["Image"]):
    owner_path = "crawl_job__project__owner"

    def in_dataset(self) -> Self:
        """Return the images that an export contains: all but marked near duplicates."""
        return self.filter(near_duplicate_of__isnull=True)


# Two hashes within distance 3 have one of four 16-bit bands in common. NULL for an image without a
# hash and for a near duplicate. Job and band are one value and the index is not partial: otherwise
# the planner may scan the whole table while its statistics are those of an empty one.
PHASH_BAND_KEYS = tuple(
    "CASE WHEN near_duplicate_of_id IS NULL"
    f" THEN (crawl_job_id::bigint << 16) | ((phash >> {shift}) & 65535) END"
    for shift in (48, 32, 16, 0)
)


class Image(models.Model):
    """A picture stored under its sha256.

    A distinct image has one index of its job (`image_index`, unique). A near duplicate is kept and
    linked to the image that it resembles, and has no index.
    """

    crawl_job = NamedForeignKey("crawler.CrawlJob", models.CASCADE, related_name="images")
    original_url = models.TextField()
    filename = models.CharField(max_length=255)
    storage_url = models.TextField(null=True, blank=True, help_text="Key in the blob storage.")
    width = models.IntegerField(null=True, blank=True)
    height = models.IntegerField(null=True, blank=True)
    file_size = models.BigIntegerField(null=True, blank=True)
    format = models.CharField(max_length=10, null=True, blank=True)
    # Ours from here on.
    chunk = NamedForeignKey("crawler.JobChunk", models.SET_NULL, null=True, related_name="images")
    image_index = models.IntegerField(null=True)
    label = models.CharField(max_length=MAX_LABEL, db_default="")
    sha256 = models.CharField(max_length=64, null=True)
    phash = models.BigIntegerField(
        null=True, help_text="64-bit perceptual hash, as signed integer."
    )
    is_upright = models.BooleanField(
        null=True,
        editable=False,
        help_text="Width, height and hash are those of the upright picture; null: perhaps not.",
    )
    near_duplicate_of = NamedForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="near_duplicates"
    )
    provenance = models.JSONField(
        null=True,
        help_text="source, source_id, landing_page, title, creator, licence, licence_url, attribution.",
    )
    retrieved_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), null=True, editable=False)

    objects = ImageQuerySet.as_manager()

    class Meta:
        db_table = "images"
        indexes = [
            # Foreign keys from rows that are deleted.
            NamedIndex(fields=["chunk"], name="ix_images_chunk_id"),
            NamedIndex(
                fields=["near_duplicate_of"],
                name="ix_images_near_duplicate_of_id",
                condition=Q(near_duplicate_of__isnull=False),
            ),
            # The orphan sweep: whether a row refers to a blob.
            NamedIndex(fields=["sha256"], name="ix_images_sha256"),
            # Keyset pages of a job's images (export, admin).
            NamedIndex(fields=["crawl_job", "id"], name="ix_images_crawl_job_id"),
            *[
                NamedIndex(RawSQL(key, ()), name=f"ix_images_phash_band_{band}")  # noqa: S611
                for band, key in enumerate(PHASH_BAND_KEYS)
            ],
        ]
        constraints = [
            models.UniqueConstraint(fields=["crawl_job", "sha256"], name="uq_images_job_sha256"),
            models.UniqueConstraint(
                fields=["crawl_job", "image_index"], name="uq_images_job_index"
            ),
        ]

    def __str__(self) -> str:
        return self.filename
