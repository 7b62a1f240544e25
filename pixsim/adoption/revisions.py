"""Where the revisions of the older systems stand in our history."""

from __future__ import annotations

from pixsim.schema.targets import Revisions

PIXCRAWLER_BASE = (("accounts", "0001_initial"), ("crawler", "0001_datasets"))
"""PixCrawler's tables before it used Alembic, without a revision."""

PIXCRAWLER: Revisions = {
    "001": (("accounts", "0001_initial"), ("crawler", "0002_job_chunks")),
    "002": (("accounts", "0002_user_tier"), ("crawler", "0002_job_chunks")),
}

PIXSIM7: Revisions = {
    "7425b92ac62e": (("providers", "0002_submissions"), ("jobs", "0001_jobs")),
    "daa977a0bfa9": (
        ("providers", "0005_submission_account_required"),
        ("jobs", "0002_params"),
    ),
    # Indexes on assets alone, which our history never had otherwise.
    "2315addginidx": (
        ("providers", "0005_submission_account_required"),
        ("jobs", "0002_params"),
    ),
    "2330addema": (("providers", "0006_generation_time"), ("jobs", "0002_params")),
    # Changes no table that we take over.
    "1105simplifylineage": (("providers", "0006_generation_time"), ("jobs", "0002_params")),
}

REVISIONS: Revisions = {**PIXCRAWLER, **PIXSIM7}
"""Each revision that equals a point of our history, with the last migration of each app there."""
