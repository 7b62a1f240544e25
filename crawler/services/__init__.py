"""Use cases that write: accept, plan, steer and end crawl jobs."""

from crawler.services.accepting import SourceSpec, command_line_project, create_crawl_job
from crawler.services.chunks import add_chunk, process_chunk
from crawler.services.ending import close_ended_job, close_surplus, take_in_chunks
from crawler.services.lifecycle import (
    cancel_job,
    change_priority,
    pause_job,
    resume_job,
    retry_job,
)
from crawler.services.limits import check_job, check_limits
from crawler.services.planning import plan_job, plan_waiting_jobs

__all__ = [
    "SourceSpec",
    "add_chunk",
    "cancel_job",
    "change_priority",
    "check_job",
    "check_limits",
    "close_ended_job",
    "close_surplus",
    "command_line_project",
    "create_crawl_job",
    "pause_job",
    "plan_job",
    "plan_waiting_jobs",
    "process_chunk",
    "resume_job",
    "retry_job",
    "take_in_chunks",
]
