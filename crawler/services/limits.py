"""What a crawl job may ask for, and what its owner's tier allows."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any

from accounts import tiers
from accounts.models import Profile
from crawler.errors import JobRefused
from crawler.fetch.rules import canonical_options
from crawler.models import MAX_CHUNK_SIZE, CrawlJob, JobStatus
from pixsim.core import priority as priorities

MAX_IMAGES = 10_000_000
MAX_CHUNKS = 200_000
REOPENED = (JobStatus.COMPLETED, JobStatus.FAILED)
"""A job in one of these is opened again when one of its chunks is."""


def check_job(
    *, max_images: int, priority: int, chunk_size: int, options: dict[str, Any] | None
) -> None:
    """Raise JobRefused, naming the field, for values that no crawl job may have."""
    if not 1 <= max_images <= MAX_IMAGES:
        raise JobRefused("max_images", f"must be from 1 to {MAX_IMAGES:,}, not {max_images:,}.")
    check_priority(priority)
    if not 1 <= chunk_size <= MAX_CHUNK_SIZE:
        raise JobRefused("chunk_size", f"must be from 1 to {MAX_CHUNK_SIZE:,}, not {chunk_size:,}.")
    if max_images > MAX_CHUNKS * chunk_size:
        raise JobRefused(
            "chunk_size",
            f"must be at least {-(-max_images // MAX_CHUNKS):,}: a job has at most "
            f"{MAX_CHUNKS:,} chunks.",
        )
    check_options(options)


def check_priority(priority: int) -> None:
    """Raise JobRefused if there is no such priority."""
    try:
        priorities.check_priority(priority)
    except ValueError as error:
        raise JobRefused("priority", str(error)) from error


def check_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """Return options as they are stored. Raise JobRefused for those that no crawl has."""
    try:
        return canonical_options(options or {})
    except ValueError as error:
        raise JobRefused("options", str(error)) from error


def check_new_job(*, owner: Profile | None, max_images: int, priority: int) -> None:
    """Raise FeatureRefused, LimitExceeded or JobRefused if the owner's tier refuses such a job.

    Call it in the transaction that creates the job: it locks the owner's row, so that two
    requests cannot pass together.
    """
    owner = lock_owner(owner)
    if owner is None:
        return
    _check_size(owner, max_images=max_images, priority=priority)
    own = CrawlJob.objects.filter(project__owner=owner)
    tiers.require(owner, "concurrent_jobs", own.open().count())
    today = datetime.combine(datetime.now(UTC).date(), time(), tzinfo=UTC)
    tiers.require(
        owner,
        "jobs_per_day",
        own.filter(created_at__gte=today).count(),
        resets_at=today + timedelta(days=1),
    )


def check_reopening(
    jobs: Iterable[CrawlJob], *, statuses: Collection[JobStatus] = REOPENED
) -> None:
    """Raise FeatureRefused, LimitExceeded or JobRefused if a tier refuses to open these jobs again.

    Only jobs in one of `statuses` are checked: the work of those that are open goes on anyway, and
    changes of their chunks open no cancelled job. A job that is opened again counts as open and
    must be of a size that the tier has now. It does not count again among the jobs of a day: the
    day on which it was created has counted it.
    """
    ended: dict[Profile, list[CrawlJob]] = {}
    for job in jobs:
        if job.status in statuses and job.project.owner is not None:
            ended.setdefault(job.project.owner, []).append(job)
    for owner in sorted(ended, key=lambda profile: profile.pk):
        locked = lock_owner(owner)
        for job in ended[owner]:
            _check_size(locked, max_images=job.max_images, priority=job.priority)
        count = CrawlJob.objects.filter(project__owner=owner).open().count()
        tiers.require(locked, "concurrent_jobs", count, len(ended[owner]))


def check_highest_priority(owner: Profile | None, priority: int) -> None:
    """Raise JobRefused if there is no such priority, LimitExceeded if the tier does not have it."""
    check_priority(priority)
    tiers.require(owner, "highest_priority", 0, priority)


def lock_owner(owner: Profile | None) -> Profile | None:
    """Return the owner as it is now, its row locked until the transaction ends."""
    if owner is None:
        return None
    return Profile.objects.select_for_update(no_key=True).get(pk=owner.pk)


def _check_size(owner: Profile | None, *, max_images: int, priority: int) -> None:
    tiers.require_feature(owner, "crawl")
    tiers.require(owner, "images_per_job", 0, max_images)
    check_highest_priority(owner, priority)
