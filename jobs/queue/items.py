"""The row that is work: columns, constraints and indexes every kind of work item shares."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import F, Q

from accounts.visibility import OwnedQuerySet
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex
from pixsim.core.priority import DEFAULT_PRIORITY, MAX_PRIORITY, MIN_PRIORITY, PRIORITY_HELP

MAX_RETRIES = 3

RETRY_COUNT_HELP = (
    f"Failed attempts. A row that the queue failed has {MAX_RETRIES}; a failed row with fewer was "
    f"failed by something else. What is tried again is pending, with more than 0."
)
"""What the admin's forms say of `retry_count`."""


class Status(models.TextChoices):
    PENDING = "pending", "pending"
    PROCESSING = "processing", "processing"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"


class WorkItemQuerySet(OwnedQuerySet[Any]):
    def pending(self) -> Self:
        return self.filter(status=Status.PENDING)

    def ready(self) -> Self:
        """Admitted and waiting for a worker, in the order in which they are claimed."""
        return self.filter(status=Status.PENDING, ready_at__isnull=False).order_by(
            "-priority", "ready_at", "id"
        )

    def most_urgent(self) -> Self:
        """Everything pending: higher priority first, then older."""
        return self.pending().order_by("-priority", "created_at")

    def retryable(self) -> Self:
        """Failed by something outside the queue with retries left: the older systems' query.

        An item that the queue failed is never among them. Those are `failed()`, and what will be
        tried again is `retrying()`.
        """
        return self.filter(status=Status.FAILED, retry_count__lt=MAX_RETRIES)

    def failed(self) -> Self:
        """Failed for good, the oldest first."""
        return self.filter(status=Status.FAILED).order_by("created_at")

    def retrying(self) -> Self:
        """Failed at least once and tried again by themselves, the oldest first."""
        return self.filter(status=Status.PENDING, retry_count__gt=0).order_by("created_at")


ENDED = ("completed", "failed")
FINISHED = "finished_at"


class WorkItem(models.Model):
    """A row that workers claim, process under a lease and finish once.

    A row may be claimed when it is pending and `ready_at` is set; `ready_at` stays set while it is
    processing and is cleared with a terminal state, so that "has a place in its owner's window" is
    `ready_at IS NOT NULL`. Only the statements of `jobs.queue.sql` change `status`, `priority`,
    `held`, `ready_at`, `available_at` and `lease_*`.
    """

    ENDED: ClassVar[tuple[str, ...]] = ENDED
    """The states in which an item has ended."""
    FINISHED: ClassVar[str] = FINISHED
    """The column that says when an item ended."""

    status = models.CharField(max_length=20, choices=Status, db_default=Status.PENDING.value)
    priority = models.IntegerField(db_default=DEFAULT_PRIORITY, help_text=PRIORITY_HELP)
    owner = NamedForeignKey(
        "accounts.Profile",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="Whose window counts. Empty: the system itself, without a window.",
    )
    held = models.BooleanField(
        db_default=False,
        help_text="Not eligible: its job is paused or cancelled, or its time has not come.",
    )
    ready_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Set: may be claimed, and its place among equals. Empty: waits for its owner's window.",
    )
    available_at = models.DateTimeField(
        null=True, blank=True, help_text="Not before this time (backoff, schedule)."
    )
    lease_id = models.BigIntegerField(
        null=True, blank=True, help_text="Fencing token, new at every claim."
    )
    lease_expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Renewed by the worker's heartbeat; passed: rescued."
    )
    retry_count = models.IntegerField(db_default=0)
    error_message = models.TextField(null=True, blank=True)
    task_id = models.CharField(
        max_length=255,
        null=True,
        blank=True,
        help_text="The Celery task that holds, or last held, the row.",
    )
    worker = models.CharField(
        max_length=255,
        null=True,
        blank=True,
        help_text="The worker process that holds, or last held, the row: name@host:pid.",
    )
    attempt_count = models.IntegerField(
        db_default=0, help_text="How often it was claimed; numbers the attempts."
    )
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    objects = WorkItemQuerySet.as_manager()

    class Meta:
        abstract = True


def queue_indexes(
    table: str,
    *,
    claimed_by: Sequence[str] = (),
    ended: Sequence[str] = ENDED,
    finished: str = FINISHED,
) -> list[models.Index]:
    """The indexes that the queue's statements need on `table`, and why.

    `claimed_by` are columns that a claim of this kind fixes; the others are as in the model.
    """
    return [
        # The claim: exactly its order and its condition.
        NamedIndex(
            *(F(column) for column in claimed_by),
            F("priority").desc(),
            F("ready_at"),
            F("id"),
            name=f"ix_{table}_claim",
            condition=Q(status="pending", ready_at__isnull=False),
        ),
        # Admission: an owner's best waiting item; also the skip scan over owners who wait.
        NamedIndex(
            F("owner"),
            F("priority").desc(),
            F("created_at"),
            F("id"),
            name=f"ix_{table}_waiting",
            condition=Q(status="pending", ready_at__isnull=True, held=False),
        ),
        # How many items of an owner are ready or processing.
        NamedIndex(
            fields=["owner"],
            name=f"ix_{table}_window",
            condition=Q(owner__isnull=False, ready_at__isnull=False),
        ),
        # Items whose time has come.
        NamedIndex(
            fields=["available_at"],
            name=f"ix_{table}_available",
            condition=Q(held=True, available_at__isnull=False),
        ),
        # Ended or revived by something outside the queue: what the sweeper registers. Normally empty.
        NamedIndex(
            fields=["id"],
            name=f"ix_{table}_unsettled",
            condition=Q(**{"status__in": list(ended), f"{finished}__isnull": True})
            | Q(**{"status": "pending", f"{finished}__isnull": False}),
        ),
        # Recent figures of the status page.
        NamedIndex(
            fields=[finished],
            name=f"ix_{table}_finished",
            condition=Q(**{f"{finished}__isnull": False}),
        ),
    ]


def queue_constraints(table: str) -> list[models.CheckConstraint]:
    """Constraints on `table` beyond those of the older systems."""
    return [
        models.CheckConstraint(
            name=f"ck_{table}_held_not_ready",
            condition=Q(held=False) | Q(ready_at__isnull=True),
        ),
    ]


def work_constraints(table: str) -> list[models.CheckConstraint]:
    """The three checks that `job_chunks` has had from the beginning, for any work table."""
    return [
        models.CheckConstraint(
            name=f"ck_{table}_status_valid", condition=Q(status__in=Status.values)
        ),
        priority_constraint(table),
        models.CheckConstraint(
            name=f"ck_{table}_retry_count_positive", condition=Q(retry_count__gte=0)
        ),
    ]


def priority_constraint(table: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        name=f"ck_{table}_priority_range",
        condition=Q(priority__gte=MIN_PRIORITY, priority__lte=MAX_PRIORITY),
    )
