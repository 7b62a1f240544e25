"""A job chunk: one slice of a crawl job."""

from typing import Any, ClassVar, Self

from django.db import models

from jobs.queue.items import (
    WorkItem,
    WorkItemQuerySet,
    queue_constraints,
    queue_indexes,
    work_constraints,
)
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex

MAX_SIZE = 100_000
RANGE_RULE = (
    f'Must be {{"start": s, "end": e}} with whole numbers 0 <= s < e, at most {MAX_SIZE:,} apart.'
)


class JobChunkQuerySet(WorkItemQuerySet):
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
        return type(start) is type(end) is int and 0 <= start < end <= start + MAX_SIZE

    @property
    def start(self) -> int:
        return int(self.image_range["start"])

    @property
    def end(self) -> int:
        return int(self.image_range["end"])

    def clean_fields(self, exclude: Any = None) -> None:
        super().clean_fields(exclude)
        if (not exclude or "image_range" not in exclude) and not self.has_range:
            from django.core.exceptions import ValidationError

            raise ValidationError({"image_range": RANGE_RULE})
