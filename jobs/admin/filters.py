"""Filters of lists of work items."""

from typing import ClassVar

from django.db.models import Q

from accounts.models import TierName
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
