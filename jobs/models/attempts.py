"""What became of each attempt at a work item: the history that operators read."""

from django.db import models
from django.db.models import Q

from pixsim.core.db.indexes import NamedIndex

KEEP_PER_ITEM = 20
KEEP_DAYS = 30


class AttemptOutcome(models.TextChoices):
    COMPLETED = "completed", "completed"
    RETRY = "retry", "failed, tried again"
    FAILED = "failed", "failed"
    LOST = "lost", "worker died or stalled"
    GIVEN_BACK = "given_back", "stopped, given back"


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

    class Meta:
        db_table = "work_attempts"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "item_id", "number"], name="uq_work_attempts_item_number"
            ),
            models.CheckConstraint(
                name="ck_work_attempts_outcome_valid",
                condition=Q(outcome__in=AttemptOutcome.values),
            ),
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
