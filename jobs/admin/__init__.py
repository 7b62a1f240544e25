"""Generations in the admin: asking for them, their story, and what they made."""

from jobs.admin.assets import AssetAdmin, WorkspaceAdmin
from jobs.admin.jobs import JobAdmin

__all__ = ["AssetAdmin", "JobAdmin", "WorkspaceAdmin"]
