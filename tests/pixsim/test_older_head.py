"""A database at the end of the migrations that the present ones replace: it goes on with its rows.

`older_head.sql` is such a database. One in the middle of that history is refused.
"""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from pixsim.schema.errors import SchemaError
from pixsim.schema.history import graph_order, load_migrations
from tests.crawler.pictures import jpeg
from tests.schema.commands import manage as manage
from tests.scratch import ALIAS
from tests.scratch import db as db

OLDER_HEAD = Path(__file__).with_name("older_head.sql")
ROWS = """
INSERT INTO auth_user (id, username, first_name, last_name, email, password, is_superuser, is_staff,
    is_active, date_joined) VALUES (1, 'ada', '', '', 'ada@x.org', '', false, false, true, now());
INSERT INTO profiles (id, email, user_id) VALUES ('00000000-0000-0000-0000-000000000001', 'ada@x.org', 1);
INSERT INTO credit_accounts (id, user_id, current_balance) SELECT gen_random_uuid(), id, 6 FROM profiles;
INSERT INTO credit_transactions (id, account_id, user_id, type, amount, balance_after, description, reference)
    SELECT gen_random_uuid(), id, user_id, kind, amount, balance, kind, kind FROM credit_accounts,
    (VALUES ('purchase', 10, 10), ('hold', -4, 6)) AS entry (kind, amount, balance);
INSERT INTO projects (id, name, user_id, status) SELECT 1, 'foxes', id, 'active' FROM profiles;
INSERT INTO crawl_jobs (id, project_id, name, keywords, max_images, status, progress, total_images,
    downloaded_images, valid_images, total_chunks, active_chunks, completed_chunks, failed_chunks, task_ids,
    chunk_size) VALUES (1, 1, 'foxes', '[]', 4, 'running', 0, 0, 0, 0, 2, 2, 0, 0, '[]', 2);
INSERT INTO job_chunks (job_id, chunk_index, image_range, owner_id, ready_at)
    SELECT 1, 0, '{"start": 0, "end": 2}', id, now() FROM profiles;
INSERT INTO job_chunks (job_id, chunk_index, image_range, owner_id, ready_at, status, lease_id,
    lease_expires_at, task_id, started_at) SELECT 1, 1, '{"start": 2, "end": 4}', id, now(),
    'processing', nextval('work_lease_id_seq'), now() - interval '1 hour', 'killed', now() FROM profiles;
INSERT INTO crawl_sources (job_id, kind, location, owner_id, ready_at)
    SELECT 1, 'folder', %s, id, now() FROM profiles;
INSERT INTO provider_accounts (id, provider_id, email) VALUES (1, 'p', 'a@x.org');
INSERT INTO jobs (id, user_id, owner_id, operation_type, provider_id, held, params)
    SELECT 1, 1, id, 'text_to_image', 'p', true, '{"prompt": "a fox"}' FROM profiles;
INSERT INTO provider_submissions (job_id, account_id, provider_id, status, account_source)
    VALUES (1, 1, 'p', 'failed', 'evidence');
SELECT setval(pg_get_serial_sequence(name, 'id'), 1)
  FROM unnest(ARRAY['auth_user', 'projects', 'crawl_jobs', 'jobs', 'provider_accounts']) AS name;
"""
KEPT = ("profiles", "credit_transactions", "crawl_jobs", "job_chunks", "crawl_sources", "jobs")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with four pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.jpg").write_bytes(jpeg(96, 64, seed=seed))
    return folder


@pytest.fixture
def older_head(database: str, pictures: Path) -> str:
    """The alias of a database at the older head, with rows in it."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(OLDER_HEAD.read_text())
        cursor.execute(ROWS.replace("%s", f"'{pictures}'"))
    return ALIAS


# Columns that came after the older head.
NEW = ["worker", "attempt_count"]


def rows(sql: Any) -> dict[str, Any]:
    query = "SELECT (to_jsonb(t) - %s::text[])::text FROM {} t ORDER BY 1"
    return {table: sql(query.format(table), NEW) for table in KEPT}


@pytest.mark.long
@pytest.mark.parametrize("way", ["migrate", "db upgrade"])
def test_a_database_at_the_older_head_goes_on_with_its_rows(
    older_head: str, db: Any, sql: Any, way: str
) -> None:
    before = rows(sql)

    if way == "migrate":
        call_command("migrate", database=ALIAS, verbosity=0)
    else:
        ran = db("upgrade", "--yes")
        assert (ran.code, ran.err) == (0, "")

    assert rows(sql) == before
    status = db("status", "--json")
    assert (status.code, status.json["at_head"], status.json["unknown"]) == (0, True, [])
    assert db("verify").out.startswith("Clean: ")
    assert db("check").code == 0
    assert db("prune", "--yes").out == "No row to forget.\n"


@pytest.mark.long
def test_what_is_new_since_the_older_head_is_all_that_is_pending(older_head: str, db: Any) -> None:
    status = db("status", "--json").json
    new = [
        "accounts.0006_notification_preferences",
        "accounts.0007_credit_references_of_each_owner",
        "accounts.0008_log_in_attempts",
        "accounts.0009_rights",
        "crawler.0006_source_kinds",
        "crawler.0007_attempts",
        "crawler.0008_outcomes",
        "crawler.0009_addresses_as_found",
        "crawler.0010_hosts",
        "crawler.0011_upright_images",
        "crawler.0012_outcomes_by_name",
        "jobs.0006_attempts",
        "jobs.0007_rollups",
        "jobs.0008_undecoded_assets",
        "jobs.0009_upright_assets",
        "jobs.0010_shared_figures",
        "providers.0009_model_refusals",
    ]
    assert (sorted(status["pending"]), status["unknown"]) == (new, [])
    assert db("check").code == 0


def test_the_history_names_present_files_in_an_order_that_they_could_be_applied_in(
    older_head: str, db: Any
) -> None:
    def told() -> list[tuple[str, str]]:
        return [(each["app"], each["name"]) for each in db("history", "--json").json["history"]]

    loader = load_migrations(None)
    for upgraded in (False, True):
        if upgraded:
            call_command("migrate", database=ALIAS, verbosity=0)
        order = told()
        assert sorted(order) == sorted(graph_order(loader))
        for key in order:
            needs = {parent.key for parent in loader.graph.node_map[key].parents}
            assert needs <= set(order[: order.index(key)])


@pytest.mark.long
def test_it_goes_back_to_the_contract_and_forward_again(older_head: str, db: Any, sql: Any) -> None:
    call_command("migrate", database=ALIAS, verbosity=0)
    sql("DELETE FROM credit_transactions WHERE type = 'hold'")
    contract = {"providers": "0006", "jobs": "0002", "crawler": "0002", "accounts": "0002"}
    for app, name in contract.items():
        call_command("migrate", app, name, database=ALIAS, verbosity=0)
    recorded = sql("SELECT app, name FROM django_migrations")
    assert not [key for key in recorded if key[0] in contract and key[1] > contract[key[0]] + "_z"]

    ran = db("upgrade", "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert db("verify").out.startswith("Clean: ")


def test_a_worker_finishes_chunks_of_the_older_head(older_head: str, sql: Any, manage: Any) -> None:
    call_command("migrate", database=ALIAS, verbosity=0)

    manage("queue work --until-idle", "queue check")

    assert sql("SELECT status, valid_images, completed_chunks FROM crawl_jobs") == [
        ("completed", 4, 2)
    ]
    assert sql("SELECT status, held FROM jobs") == [("pending", True)]


def test_a_database_in_the_middle_of_the_older_history_is_refused_by_every_command(
    older_head: str, db: Any, sql: Any
) -> None:
    sql("DELETE FROM django_migrations WHERE app = 'jobs' AND name > '0004'")
    before = sql("SELECT app, name FROM django_migrations ORDER BY id"), rows(sql)
    refused = (
        "The database stands in the middle of what jobs 0003_columns replaces: jobs 0003_defaults "
        "applied, jobs 0005_work_lease_sequence, jobs 0006_params_source, jobs 0008_held, jobs "
        "0009_work_columns not, and the files are gone. Nothing was changed. Upgrade to the head of "
        "the release that still has these files, then to this one; or, if the rest is in the database "
        "already, record it with `manage.py db stamp jobs 0003_columns`, which compares first."
    )

    with pytest.raises(CommandError) as raised:
        call_command("migrate", database=ALIAS, verbosity=0)
    assert str(raised.value) == refused
    for verb in ("status", "history", "upgrade", "verify", "prune"):
        ran = db(verb, *(["--yes"] if verb in ("upgrade", "prune") else []))
        assert (ran.code, ran.err.strip()) == (1, refused)
    assert refused in db("check").out

    assert (sql("SELECT app, name FROM django_migrations ORDER BY id"), rows(sql)) == before


def test_wherever_in_the_older_history_a_database_stands_it_is_at_its_end_or_refused(
    older_head: str, sql: Any
) -> None:
    replaced: dict[str, set[str]] = {}
    for key, migration in MigrationLoader(None).replacements.items():
        if key != ("crawler", "0006_source_kinds"):  # newer than that head
            for app, name in migration.replaces:
                assert name not in replaced.setdefault(app, set())
                replaced[app].add(name)
    assert {app: len(names) for app, names in replaced.items()} == {
        "accounts": 11,
        "crawler": 7,
        "jobs": 9,
        "providers": 9,
    }
    for app, names in replaced.items():
        first, *later = sorted(names)
        for name in reversed(later):
            sql("DELETE FROM django_migrations WHERE app = %s AND name = %s", app, name)
            with pytest.raises(SchemaError, match="stands in the middle of what"):
                load_migrations(connections[ALIAS])
        sql("DELETE FROM django_migrations WHERE app = %s AND name = %s", app, first)
        load_migrations(connections[ALIAS])
