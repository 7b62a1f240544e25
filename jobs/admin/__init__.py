"""Jobs, assets, workspaces and attempts in the admin."""

from jobs.admin import assets, attempts, jobs, workers  # noqa: F401  registered by import
