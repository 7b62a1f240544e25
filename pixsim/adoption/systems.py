"""The older systems: their revisions as points of our history, their tables, their special columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pixsim.schema.target_parsing import Key, Revisions

BASE = "base"
"""What `--assume` calls a database from before the first revision."""

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


@dataclass(frozen=True)
class System:
    name: str
    revisions: Revisions
    """In their order; BASE is before the first."""
    tables: tuple[str, ...]
    """Those that become ours, each after the tables that it cannot be without."""
    people: str
    """The table whose rows become log-ins."""
    turned: frozenset[tuple[str, str]] = frozenset()
    """Priorities that count the other way round: 0 was the most urgent of 0 to 10."""
    enumerations: frozenset[tuple[str, str]] = frozenset()
    """Names of members in upper case, native enum or not; ours are in lower case."""
    given: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """SQL of values for columns that only we have."""
    never_null: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The value instead of NULL, and of the null of json, in columns that have neither with us."""
    emptied: frozenset[tuple[str, str]] = frozenset()
    """References to missing rows that become empty, though our model protects what they refer to."""
    ours_alone: frozenset[tuple[str, str]] = frozenset()
    """Columns that our history has at a revision where the older system had none."""


@dataclass(frozen=True)
class Point:
    """A revision of a system, and the point of our history that it equals."""

    system: System
    revision: str
    keys: tuple[Key, ...]

    @property
    def text(self) -> str:
        place = "before 001" if self.revision == BASE else f"at {self.revision}"
        return f"{self.system.name} {place}"


CRAWLER = System(
    name="PixCrawler",
    revisions={BASE: PIXCRAWLER_BASE, **PIXCRAWLER},
    tables=(
        "profiles",
        "projects",
        "crawl_jobs",
        "job_chunks",
        "images",
        "credit_accounts",
        "credit_transactions",
        "notifications",
        "notification_preferences",
        "api_keys",
        "usage_metrics",
        "activity_logs",
    ),
    people="profiles",
)

GENERATOR = System(
    name="PixSim7",
    revisions=PIXSIM7,
    tables=(
        "workspaces",
        "provider_accounts",
        "provider_credits",
        "jobs",
        "assets",
        "provider_submissions",
    ),
    people="users",
    turned=frozenset({("jobs", "priority")}),
    enumerations=frozenset(
        {
            ("jobs", "operation_type"),
            ("jobs", "status"),
            ("provider_accounts", "status"),
            ("assets", "media_type"),
            ("assets", "sync_status"),
            ("assets", "content_domain"),
        }
    ),
    given={
        # The older migration gave every submission the first account of its provider, and what it
        # recorded later looks the same. Any other account can only be recorded.
        ("provider_submissions", "account_source"): (
            "CASE WHEN o.account_id = (SELECT min(first.id) FROM {schema}.provider_accounts AS first"
            " WHERE first.provider_id = o.provider_id) THEN 'backfill' ELSE 'recorded' END"
        ),
    },
    never_null={("jobs", "params"): "'{}'::jsonb"},
    emptied=frozenset({("assets", "provider_account_id")}),
    ours_alone=frozenset({("provider_submissions", "account_source")}),
)

SYSTEMS: Sequence[System] = (CRAWLER, GENERATOR)


def points(system: System | None = None) -> list[Point]:
    """Return every revision, of one system or of all."""
    return [
        Point(each, revision, tuple(keys))
        for each in SYSTEMS
        if system in (None, each)
        for revision, keys in each.revisions.items()
    ]
