"""What always holds of the rows is proved; a row that breaks it is counted and named."""

import pytest
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from jobs.queue.kinds import all_kinds
from pixsim.core.invariants import Invariant, examine
from pixsim.schema import plugins
from pixsim.schema.catalog import read_schema
from pixsim.schema.invariants import references
from tests.scratch import ALIAS

FIRST = "SET session_replication_role = replica;"
"""As a loader does: rows come in whatever the foreign keys say."""
JOB = (
    "INSERT INTO projects (id, name, status) VALUES (1, 'p', 'active');"
    "INSERT INTO crawl_jobs (id, project_id, name, keywords, max_images, status, progress,"
    " total_images, downloaded_images, valid_images, total_chunks, active_chunks, completed_chunks,"
    " failed_chunks, task_ids) VALUES (1, 1, 'j', '[]', 100, 'running', 0, 0, 0, 0, 2, 2, 0, 0, '[]');"
    "INSERT INTO crawl_sources (job_id, kind, location) VALUES (1, 'urls', 'x');"
    """INSERT INTO job_chunks (job_id, chunk_index, image_range)
        VALUES (1, 0, '{"start": 0, "end": 50}'), (1, 1, '{"start": 50, "end": 100}');"""
)
ACCOUNT = (
    "INSERT INTO provider_accounts (id, provider_id, email, password)"
    " VALUES (1, 'local', 'a@b.example', 'gAAAAABsecret');"
)
USER = (
    "INSERT INTO auth_user (id, username, password, is_superuser, is_staff, is_active, first_name,"
    " last_name, email, date_joined) VALUES (7, 'u', '', false, false, true, '', '', '', now());"
)
WORK = (
    f"{USER} INSERT INTO profiles (email, user_id) VALUES ('u@b.example', 7); {ACCOUNT}"
    "INSERT INTO jobs (id, user_id, operation_type, provider_id)"
    " VALUES (1, 7, 'text_to_image', 'local');"
    "INSERT INTO provider_submissions (id, job_id, provider_id, account_id)"
    " VALUES (1, 1, 'local', 1);"
)

BROKEN = {
    "submission without account": (
        f"{WORK} UPDATE provider_submissions SET account_id = 99",
        "provider_submissions.account_id: expected: It names a row of provider_accounts, or nothing."
        " Found 1 rows where not: id=1, account_id=99",
    ),
    "account of another provider": (
        f"{WORK} UPDATE provider_accounts SET provider_id = 'other'",
        "submission-account: expected: A submission was made by an account of its own provider. "
        "Found 1 rows where not: id=1, provider_id=local, account_id=1, provider_of_account=other",
    ),
    "chunk without job": (
        f"{JOB} INSERT INTO job_chunks (id, job_id, chunk_index, image_range)"
        " SELECT 1000 + n, 42, n, '{}' FROM generate_series(1, 12) AS n",
        "job_chunks.job_id: expected: It names a row of crawl_jobs, or nothing. Found 12 rows where "
        "not: id=10",
    ),
    "chunk outside its job": (
        f"""{JOB} UPDATE job_chunks SET image_range = '{{"start": 50, "end": 120}}'
            WHERE chunk_index = 1""",
        "chunk-ranges: expected: The chunks of a job cover its indices from 0 to max_images",
    ),
    "chunk counters": (
        f"{JOB} UPDATE crawl_jobs SET completed_chunks = 1, active_chunks = 1",
        "chunk-counters: expected: A job's chunk counters equal its rows. Found 1 rows where not: "
        "job_id=1, total_chunks=2, active_chunks=1, completed_chunks=1",
    ),
    "image counters": (
        f"{JOB} UPDATE crawl_jobs SET valid_images = 3, progress = 3",
        "image-counters: expected: ",
    ),
    "unreadable range": (
        f"""{JOB} INSERT INTO images (crawl_job_id, original_url, filename, chunk_id, image_index)
            SELECT 1, 'u', 'f', min(id), 1 FROM job_chunks;
            UPDATE job_chunks SET image_range = '{{"start": "x"}}'""",
        "index-in-chunk: expected: An image's index lies within the chunk that stored it. "
        "Found values that cannot be read: error=invalid input syntax for type numeric",
    ),
    "source with a lease that is pending": (
        f"{JOB} UPDATE crawl_sources SET lease_id = 7",
        "pending-unleased: expected: A pending item has no lease. Found 1 rows where not: id=",
    ),
    "generation that ended and is ready": (
        f"{WORK} UPDATE jobs SET status = 'failed', ready_at = now(), completed_at = now()",
        "ended-holds-nothing: expected: An item that has ended holds nothing",
    ),
    "balance that its ledger does not explain": (
        "INSERT INTO profiles (id, email) VALUES (gen_random_uuid(), 'c@b.example');"
        "INSERT INTO credit_accounts (user_id, current_balance) SELECT id, 7 FROM profiles;"
        "INSERT INTO credit_transactions (account_id, user_id, type, description, amount,"
        " balance_after, reference) SELECT id, user_id, 'bonus', '', 5, 5, 'r' FROM credit_accounts",
        "ledger-adds-up: expected: A credit balance is the sum of its ledger. Found 1 rows where "
        "not: profile=",
    ),
    "user without profile": (USER, "user-profile: expected: Who can log in has a profile. Found 1"),
    "secret in plain text": (
        f"{ACCOUNT} UPDATE provider_accounts SET api_key = 'sk-12345'",
        "secrets-encrypted: expected: A secret of a provider account is encrypted. Found 1 rows "
        "where not: id=1, secret=api_key",
    ),
}


def registered() -> list[Invariant]:
    return [
        each
        for plugin in plugins.registered()
        for several in plugin.invariants().values()
        for each in several
    ]


@pytest.fixture
def after(migrated, sql):
    """The invariants that do not hold after some statements."""

    def run(statements: str) -> list[str]:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(FIRST + statements)
        wanted = [*references(read_schema(connections[ALIAS])), *registered()]
        return [str(each) for each in examine(wanted, using=ALIAS) if not each.holds]

    return run


def test_each_broken_invariant_says_expected_and_found(after, sql):
    assert after(JOB + WORK) == []
    for name, (statements, sentence) in BROKEN.items():
        tables = "auth_user, profiles, projects, crawl_jobs, provider_accounts, jobs"
        found = after(f"TRUNCATE {tables} CASCADE; {statements}")
        assert any(each.startswith(sentence) for each in found), (name, found)
        assert not any("sk-12345" in each for each in found)
        if name == "chunk without job":  # ten examples, in whatever order the plan finds them
            assert max(each.count("job_id=42") for each in found) == 10


def test_an_invariant_whose_column_is_missing_is_named_not_proved(migrated, sql):
    sql("ALTER TABLE provider_accounts DROP COLUMN cookies")
    found = examine(registered(), using=ALIAS, skip_missing=True)
    assert [each.name for each in found if each.skipped] == ["secrets-encrypted"]
    assert not any(each.rows for each in found)


def test_proving_writes_nothing(at_head):
    writing = Invariant("x", "Never.", "SELECT nextval('work_lease_id_seq') AS id")
    with pytest.raises(Exception, match="read-only transaction"):
        examine([writing], using=ALIAS)


def test_each_invariant_begins_with_a_migration_that_exists():
    nodes = MigrationLoader(None).graph.nodes
    assert all(key in nodes for plugin in plugins.registered() for key in plugin.invariants())


def test_the_invariants_of_every_kind_of_work_and_of_credits_are_proved():
    subjects = {each.subject for each in registered()}
    assert {*(kind.name for kind in all_kinds()), "credits"} <= subjects
    assert not any(each.needs_worker for each in registered())
