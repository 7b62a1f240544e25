"""The price of a generation in credits: an estimate is held, the cost is taken at the end."""

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
"""The price of one file of an operation, in images of the owner's tier."""

UNRESOLVED = "undecided"
"""Error class of a job with an unresolved charge: the provider may have charged for it, and its
credits stay held until somebody decides. The value is stored in rows."""


def estimate(
    owner: Profile | None, adapter: Adapter, operation: str, params: dict[str, Any]
) -> int | None:
    """Return the credits to hold; None for the system's jobs and for providers without a key."""
    if owner is None or adapter.credential is None:
        return None
    return _price(owner, operation) * max(1, int(params.get("n") or 1))


def actual(job: Job, *, files: int) -> int | None:
    """Return the cost at the current price of the owner's tier; never more than was held."""
    if job.estimate is None or job.owner is None:
        return None
    return min(job.estimate, _price(job.owner, job.operation_type) * files)


def hold_reference(job: Job) -> str:
    """Return the ledger's reference of the hold of the job's current run."""
    return f"job:{job.pk}:{job.run}"


def _price(owner: Profile, operation: str) -> int:
    return tiers.tier_of(owner).price_per_image * IMAGES_WORTH[OperationType(operation)]
