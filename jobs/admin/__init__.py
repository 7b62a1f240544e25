"""Jobs, assets and workspaces in the admin."""

from jobs.admin.assets import AssetAdmin, WorkspaceAdmin
from jobs.admin.attempts import WorkAttemptAdmin
from jobs.admin.jobs import JobAdmin

__all__ = ["AssetAdmin", "JobAdmin", "WorkAttemptAdmin", "WorkspaceAdmin"]
