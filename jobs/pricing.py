"""What a generation costs its owner, in credits: held as an estimate, taken when it is done."""

from __future__ import annotations

from typing import Any

from accounts import tiers
from accounts.models import Profile
from jobs.models import Job, OperationType
from providers.adapters import Adapter

IMAGES_WORTH = {
    OperationType.TEXT_TO_IMAGE: 1,
    OperationType.IMAGE_TO_IMAGE: 1,
    OperationType.FUSION: 10,
    OperationType.TEXT_TO_VIDEO: 10,
    OperationType.IMAGE_TO_VIDEO: 10,
    OperationType.VIDEO_EXTEND: 10,
    OperationType.VIDEO_TRANSITION: 10,
    OperationType.SONG: 5,
}
"""How many images of its owner's tier one file of an operation is worth."""

UNRESOLVED = "undecided"
"""Error class of a job that may have been charged: its hold stays until somebody decides."""


def estimate(
    *, owner: Profile | None, adapter: Adapter, operation: str, params: dict[str, Any]
) -> int | None:
    """Credits to hold; None if it costs nothing: the system's work, and what is rendered here."""
    if owner is None or adapter.credential is None:
        return None
    return _price(owner, operation) * max(1, int(params.get("n") or 1))


def actual(job: Job, *, files: int) -> int | None:
    """Credits that it took, at the price of its owner's tier now; never more than was held."""
    if job.estimate is None or job.owner is None:
        return None
    return min(job.estimate, _price(job.owner, job.operation_type) * files)


def hold_reference(job: Job) -> str:
    """The ledger's name for the hold of a job's present run."""
    return f"job:{job.pk}:{job.run}"


def _price(owner: Profile, operation: str) -> int:
    return tiers.tier_of(owner).price_per_image * IMAGES_WORTH[OperationType(operation)]
