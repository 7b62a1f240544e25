"""Accepting a crawl job."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from accounts import tiers
from accounts.models import Profile
from crawler import sources
from crawler.models import CrawlJob, CrawlSource, Project
from crawler.models.projects import COMMAND_LINE_PROJECT
from crawler.planner import default_chunk_size
from crawler.services.limits import check_job, check_limits
from crawler.services.planning import plan_job


@dataclass(frozen=True)
class SourceSpec:
    """A source as it is asked for: see `crawler.sources` for kinds and their options."""

    kind: str
    location: str
    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def create_crawl_job(
    *,
    owner: Profile | None,
    name: str,
    max_images: int,
    source_specs: Sequence[SourceSpec],
    keywords: Sequence[str] = (),
    priority: int | None = None,
    project: Project | None = None,
    options: dict[str, Any] | None = None,
    chunk_size: int | None = None,
) -> CrawlJob:
    """Accept a crawl job: checked, within the owner's limits, planned, and its workers rung for.

    Raises JobRefused or SourceRefused, naming the field, or LimitExceeded; nothing is kept then.
    `owner` None is the system, which has no limits.
    """
    if chunk_size is None:
        chunk_size = default_chunk_size(max_images)
    if priority is None:
        priority = tiers.default_priority(owner)
    check_job(max_images=max_images, priority=priority, chunk_size=chunk_size, options=options)
    for spec in source_specs:
        sources.build(spec.kind, spec.location, spec.options, spec.label).check()
    with transaction.atomic():
        check_limits(owner=owner, max_images=max_images, priority=priority)
        job = CrawlJob.objects.create(
            project=project or command_line_project(owner=owner),
            name=name[:100],
            keywords=list(keywords),
            max_images=max_images,
            priority=priority,
            options=options or {},
            chunk_size=chunk_size,
        )
        CrawlSource.objects.bulk_create(
            CrawlSource(
                job=job,
                kind=spec.kind,
                location=spec.location,
                label=spec.label,
                options=spec.options,
                owner=owner,
                priority=priority,
            )
            for spec in source_specs
        )
        plan_job(job_id=job.pk)
    job.refresh_from_db()
    return job


def command_line_project(*, owner: Profile | None) -> Project:
    """The project of crawls that name none."""
    project = Project.objects.filter(owner=owner, name=COMMAND_LINE_PROJECT).order_by("id").first()
    if project is None:
        if owner is not None:
            tiers.require(owner, "projects", Project.objects.filter(owner=owner).count())
        project = Project.objects.create(owner=owner, name=COMMAND_LINE_PROJECT)
    return project
