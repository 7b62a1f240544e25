"""Filters of lists of work items."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Expression, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.models import TierName
from jobs.models import WorkAttempt
from jobs.queue.items import Status
from pixsim.core.admin.lists import ConditionFilter

PENDING = Q(status=Status.PENDING)


class QueueStateFilter(ConditionFilter):
    """A filter by the item's state in the queue, which says more than its status."""

    title = "state in the queue"
    parameter_name = "state"
    conditions: ClassVar = {
        "open": ("not finished", Q(status__in=[Status.PENDING, Status.PROCESSING])),
        "ready": ("ready for a worker", PENDING & Q(ready_at__isnull=False)),
        "waiting": (
            "waits for its owner's window",
            PENDING & Q(ready_at__isnull=True, held=False),
        ),
        "held": ("held: paused, without a source, or not due yet", PENDING & Q(held=True)),
        "scheduled": ("held until its time", PENDING & Q(held=True, available_at__isnull=False)),
        "stopped": (
            "held by its job, or for want of what it needs",
            PENDING & Q(held=True, available_at__isnull=True),
        ),
        "cancelled": ("cancelled", Q(status="cancelled")),
    }


class OwnerTierFilter(ConditionFilter):
    title = "owner's tier"
    parameter_name = "tier"
    conditions: ClassVar = {
        "system": ("system (no owner)", Q(owner=None)),
        **{tier: (name, Q(owner__user_tier=tier)) for tier, name in TierName.choices},
    }


def error_class_of(kind: str) -> Expression:
    """Return the class of an item's last error; "unknown" if its attempt was not recorded."""
    last = WorkAttempt.objects.filter(
        kind=kind, item_id=OuterRef("pk"), number=OuterRef("attempt_count")
    )
    return Coalesce(Subquery(last.values("error_class")[:1]), Value("unknown"))


class ErrorClassFilter(admin.SimpleListFilter):
    """Items that failed with errors of one class. Pages that count these link here."""

    title = "error class of what failed"
    parameter_name = "error"
    kind: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Which classes there are is not asked: a table of millions would be read for it.
        chosen = request.GET.get("error", "")
        return [(chosen, chosen)] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return failed_with(queryset, self.kind, self.value()) if self.value() else queryset


def failed_with(rows: QuerySet[Any], kind: str, error_class: str | None) -> QuerySet[Any]:
    """Return the failed items of which the last error was of this class."""
    failed = rows.filter(status=Status.FAILED)
    found: QuerySet[Any] = failed.alias(last_error=error_class_of(kind))
    return found.filter(last_error=error_class)
