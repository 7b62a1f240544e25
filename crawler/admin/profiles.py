"""Columns of the list of profiles: how much of their crawl limits people use."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from accounts import tiers
from accounts.admin import PROFILE_COLUMNS, ProfileColumn
from pixsim.core.db.sql import fetch

# Each subquery reads an index that begins with the owner.
IN_WINDOW = """
SELECT id, user_tier, (
    SELECT count(*) FROM job_chunks
    WHERE job_chunks.owner_id = profiles.id AND job_chunks.ready_at IS NOT NULL)
FROM profiles WHERE id = ANY(%(ids)s)
"""
CRAWLS = """
SELECT id, user_tier, jobs.open, jobs.today, (
    SELECT coalesce(sum(images_processed), 0) FROM usage_metrics
    WHERE usage_metrics.user_id = profiles.id AND metric_date = (now() AT TIME ZONE 'UTC')::date)
FROM profiles CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE crawl_jobs.status IN ('pending', 'running', 'paused')) AS open,
        count(*) FILTER (WHERE crawl_jobs.created_at
            >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') AS today
    FROM crawl_jobs JOIN projects ON projects.id = crawl_jobs.project_id
    WHERE projects.user_id = profiles.id) jobs
WHERE id = ANY(%(ids)s)
"""


def in_window(ids: Sequence[UUID]) -> Mapping[UUID, str]:
    """Return how many chunks are ready or processing, and how many may be."""
    known = tiers.all_tiers()
    return {
        key: f"{used:,} of {known[tier].window:,}"
        for key, tier, used in fetch(IN_WINDOW, {"ids": list(ids)}, plan_anew=True)
        if tier in known
    }


def crawls(ids: Sequence[UUID]) -> Mapping[UUID, str]:
    """Return the open jobs and those of today, how many there may be, and the images of today."""
    known = tiers.all_tiers()
    return {
        key: f"{opened:,} of {known[tier].concurrent_jobs:,} open, "
        f"{today:,} of {known[tier].jobs_per_day:,} today, {images:,} images today"
        for key, tier, opened, today, images in fetch(CRAWLS, {"ids": list(ids)}, plan_anew=True)
        if tier in known
    }


PROFILE_COLUMNS += [
    ProfileColumn("in_window", "in the window", in_window),
    ProfileColumn("crawls", "crawl jobs", crawls),
]
