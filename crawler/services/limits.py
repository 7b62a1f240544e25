"""What a crawl job may be at all, and what its owner's tier allows."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from accounts import tiers
from accounts.models import Profile
from crawler.errors import JobRefused
from crawler.fetch import Rules
from crawler.models import CrawlJob
from crawler.models.chunks import MAX_SIZE
from pixsim.core import priority as priorities

MAX_IMAGES = 10_000_000
MAX_CHUNKS = 200_000


def check_job(
    *, max_images: int, priority: int, chunk_size: int, options: dict[str, Any] | None
) -> None:
    """Raises JobRefused, naming the field, if a job cannot be as it was asked for."""
    if not 1 <= max_images <= MAX_IMAGES:
        raise JobRefused("max_images", f"must be from 1 to {MAX_IMAGES:,}, not {max_images:,}.")
    check_priority(priority)
    if not 1 <= chunk_size <= MAX_SIZE:
        raise JobRefused("chunk_size", f"must be from 1 to {MAX_SIZE:,}, not {chunk_size:,}.")
    if max_images > MAX_CHUNKS * chunk_size:
        raise JobRefused(
            "chunk_size",
            f"must be at least {-(-max_images // MAX_CHUNKS):,}: a job has at most "
            f"{MAX_CHUNKS:,} chunks.",
        )
    try:
        Rules.from_options(options or {})
    except ValueError as error:
        raise JobRefused("options", str(error)) from error


def check_limits(*, owner: Profile | None, max_images: int, priority: int) -> None:
    """Raises LimitExceeded if the owner's tier does not allow one more such job.

    Locks the owner's row, so that two requests cannot pass together: call it in the transaction
    that creates the job.
    """
    if owner is None:
        return
    owner = Profile.objects.select_for_update(no_key=True).get(pk=owner.pk)
    tiers.require(owner, "images_per_job", 0, max_images)
    tiers.require(owner, "highest_priority", 0, priority)
    own = CrawlJob.objects.filter(project__owner=owner)
    tiers.require(owner, "concurrent_jobs", own.open().count())
    today = datetime.combine(datetime.now(UTC).date(), time(), tzinfo=UTC)
    tiers.require(
        owner,
        "jobs_per_day",
        own.filter(created_at__gte=today).count(),
        resets_at=today + timedelta(days=1),
    )


def check_priority(priority: int) -> None:
    """Raise JobRefused if there is no such priority."""
    try:
        priorities.check_priority(priority)
    except ValueError as error:
        raise JobRefused("priority", str(error)) from error
