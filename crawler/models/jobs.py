"""A crawl job: a request for so many images from named sources."""

from typing import Self

from django.db import models
from django.db.models import Q

from jobs.queue.items import priority_constraint
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex
from pixsim.core.priority import DEFAULT_PRIORITY, PRIORITY_HELP


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


class CrawlJobQuerySet(models.QuerySet["CrawlJob"]):
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
    name = models.CharField(max_length=100)
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
    def ended_short(self) -> bool:
        """Return whether the job ended with fewer images than were asked for."""
        return not self.is_open and self.valid_images < self.max_images
