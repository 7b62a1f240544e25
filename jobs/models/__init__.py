"""Generations: jobs, the workspaces they are kept in, and the assets they make."""

from jobs.models.assets import Asset, ContentDomain, MediaType, SyncStatus
from jobs.models.attempts import AttemptOutcome, WorkAttempt
from jobs.models.jobs import Job, JobStatus, OperationType
from jobs.models.workspaces import Workspace

__all__ = [
    "Asset",
    "AttemptOutcome",
    "ContentDomain",
    "Job",
    "JobStatus",
    "MediaType",
    "OperationType",
    "SyncStatus",
    "WorkAttempt",
    "Workspace",
]
