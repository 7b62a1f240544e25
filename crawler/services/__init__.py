"""Use cases that write: accept, plan, change and end crawl jobs."""

from crawler.services.accepting import SourceSpec, add_sources, create_crawl_job
from crawler.services.chunks import add_chunk, process_chunk
from crawler.services.ending import close_ended_job, close_surplus, recount_job
from crawler.services.lifecycle import (
    WHILE_OPEN,
    cancel_job,
    change_job,
    change_priority,
    pause_job,
    resume_job,
    retry_job,
)
from crawler.services.limits import check_job
from crawler.services.planning import plan_job, plan_waiting_jobs
from crawler.services.projects import (
    DEFAULT_PROJECT,
    change_project,
    create_project,
    project_named,
)

__all__ = [
    "DEFAULT_PROJECT",
    "WHILE_OPEN",
    "SourceSpec",
    "add_chunk",
    "add_sources",
    "cancel_job",
    "change_job",
    "change_priority",
    "change_project",
    "check_job",
    "close_ended_job",
    "close_surplus",
    "create_crawl_job",
    "create_project",
    "pause_job",
    "plan_job",
    "plan_waiting_jobs",
    "process_chunk",
    "project_named",
    "recount_job",
    "resume_job",
    "retry_job",
]
