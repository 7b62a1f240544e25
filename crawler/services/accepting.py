"""Accepting a crawl job and its sources."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from django.db import transaction

from accounts import activity, tiers
from accounts.models import Profile
from crawler import sources
from crawler.errors import JobRefused, WrongState
from crawler.labels import check_keywords, check_name
from crawler.models import CrawlJob, CrawlSource, Project
from crawler.services.limits import check_job, check_new_job, check_options
from crawler.services.planning import default_chunk_size, plan_job
from crawler.services.projects import project_named
from crawler.sources.roots import storable_location
from jobs.queue import api
from jobs.queue.kinds import kind_named
from pixsim.core.redaction import redact

MAX_CHUNKS_AT_ONCE = 5000
"""A job of more chunks is planned by the workers, so that nobody waits for it."""


@dataclass(frozen=True)
class SourceSpec:
    """A source as it is asked for: see `crawler.sources` for kinds and their options."""

    kind: str
    location: str
    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "location", storable_location(self.location))


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
    actor: Profile | None = None,
) -> CrawlJob:
    """Accept a crawl job: check it and its owner's limits, plan its chunks, notify the workers.

    `owner` None is the system, which has no limits. A source without a label gets the job's
    keyword, if there is just one.

    Raise JobRefused or SourceRefused, naming the field, FeatureRefused or LimitExceeded; nothing is
    kept then.
    """
    if chunk_size is None:
        chunk_size = default_chunk_size(max_images)
    if priority is None:
        priority = tiers.default_priority(owner)
    if project is not None and project.owner != owner:
        raise JobRefused("project", f"project {project.pk} is not the owner's.")
    check_name(name)
    check_keywords(keywords)
    check_job(max_images=max_images, priority=priority, chunk_size=chunk_size, options=options)
    source_specs = [_checked(spec) for spec in source_specs]
    with transaction.atomic():
        check_new_job(owner=owner, max_images=max_images, priority=priority)
        job = CrawlJob.objects.create(
            project=project or project_named(owner=owner, actor=actor),
            name=name,
            keywords=list(keywords),
            max_images=max_images,
            priority=priority,
            options=check_options(options),
            chunk_size=chunk_size,
        )
        _insert_sources(job, source_specs, owner=owner)
        activity.record_change("crawl_job", job.pk, "created", actor=actor, max_images=max_images)
        if max_images <= MAX_CHUNKS_AT_ONCE * chunk_size:
            plan_job(job_id=job.pk)
    job.refresh_from_db()
    return job


def add_sources(
    *, job_id: int, source_specs: Sequence[SourceSpec], actor: Profile | None = None
) -> None:
    """Add sources to an open job. Raise SourceRefused, or WrongState if the job has ended."""
    if not source_specs:
        return
    source_specs = [_checked(spec) for spec in source_specs]
    with transaction.atomic():
        job = CrawlJob.objects.select_for_update(no_key=True).filter(pk=job_id).open().first()
        if job is None:
            raise WrongState(f"Crawl job {job_id} has ended: no source can be added.")
        _insert_sources(job, source_specs)
        locations = [redact(spec.location) for spec in source_specs]
        activity.record_change("crawl_job", job_id, "sources_added", actor=actor, sources=locations)
        transaction.on_commit(partial(api.register_and_notify, kind_named("discovery")))


def _checked(spec: SourceSpec) -> SourceSpec:
    """Return a source as it is stored. Raise SourceRefused for one that cannot work."""
    source = sources.checked(spec.kind, spec.location, spec.options, spec.label)
    return replace(spec, label=source.label, options=source.given_options)


def _insert_sources(
    job: CrawlJob, source_specs: Sequence[SourceSpec], owner: Profile | None = None
) -> None:
    keywords = job.keywords if isinstance(job.keywords, list) else []
    check_keywords(keywords)
    label = str(keywords[0]) if len(keywords) == 1 else ""
    CrawlSource.objects.bulk_create(
        CrawlSource(
            job=job,
            kind=spec.kind,
            location=spec.location,
            label=spec.label or label,
            options=spec.options,
            owner=owner,
            priority=job.priority,
        )
        for spec in source_specs
    )
