"""What the list of profiles shows of a person's crawls: their use against their limits."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from django.db import connection

from accounts import tiers
from accounts.admin import PROFILE_COLUMNS, ProfileColumn
from accounts.tiers import Tier

# Each reads an index that begins with the owner.
IN_WINDOW = """
SELECT count(*) FROM job_chunks
WHERE job_chunks.owner_id = profiles.id AND job_chunks.ready_at IS NOT NULL
"""
OPEN_JOBS = """
SELECT count(*) FROM crawl_jobs JOIN projects ON projects.id = crawl_jobs.project_id
WHERE projects.user_id = profiles.id AND crawl_jobs.status IN ('pending', 'running', 'paused')
"""
JOBS_TODAY = """
SELECT count(*) FROM crawl_jobs JOIN projects ON projects.id = crawl_jobs.project_id
WHERE projects.user_id = profiles.id
  AND crawl_jobs.created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
"""
IMAGES_TODAY = """
SELECT coalesce(sum(images_processed), 0) FROM usage_metrics
WHERE usage_metrics.user_id = profiles.id
  AND usage_metrics.metric_date = (now() AT TIME ZONE 'UTC')::date
"""


def _values(
    figure: str, limit: Callable[[Tier], int] | None
) -> Callable[[Sequence[UUID]], Mapping[UUID, str]]:
    def values(ids: Sequence[UUID]) -> Mapping[UUID, str]:
        known = tiers.all_tiers()
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, user_tier, ({figure}) FROM profiles WHERE id = ANY(%s)", [list(ids)]
            )
            rows = cursor.fetchall()
        return {
            key: f"{use:,} of {limit(known[tier]):,}" if limit and tier in known else f"{use:,}"
            for key, tier, use in rows
        }

    return values


PROFILE_COLUMNS += [
    ProfileColumn("in_window", "in the window", _values(IN_WINDOW, lambda tier: tier.window)),
    ProfileColumn("open_jobs", "open jobs", _values(OPEN_JOBS, lambda tier: tier.concurrent_jobs)),
    ProfileColumn("jobs_today", "jobs today", _values(JOBS_TODAY, lambda tier: tier.jobs_per_day)),
    ProfileColumn("images_today", "images today", _values(IMAGES_TODAY, None)),
]
