"""Jobs, assets, workspaces and attempts in the admin."""

from jobs.admin import assets, attempts, jobs, pauses, workers  # noqa: F401  registered by import
