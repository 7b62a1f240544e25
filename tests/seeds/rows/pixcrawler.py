"""PixCrawler: the migration guide (001 job_chunks, 002 user_tier)."""

from pathlib import Path

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from accounts.tiers import all_tiers
from crawler.models import JobChunk
from jobs.queue import api
from jobs.queue.kinds import kind_named
from tests.adoption.legacy.pixcrawler import DATASET_TABLES
from tests.crawler.in_process import wait_until
from tests.crawler.pictures import jpeg
from tests.schema.packages import migration
from tests.seeds.checks import (
    check,
    column,
    command,
    constraint,
    every,
    foreign_key,
    index,
    query,
    read,
    uses_index,
)
from tests.seeds.place import Place
from tests.seeds.rows import common
from tests.seeds.rows.common import FIRST, shop
from tests.seeds.table import FULFILLED, TRANSLATED, Guide, On, Row
from tests.tables import describe_table

INSERT = 'INSERT INTO job_chunks (job_id, chunk_index, image_range) VALUES (1, 7, \'{"start": 0, "end": 9}\')'
OURS = ("accounts", "crawler", "jobs", "providers")
OF_A_JOB = """
SELECT chunk_index FROM job_chunks WHERE job_id = 1 AND status = 'pending'
ORDER BY priority DESC, created_at
"""
PROCESSING = """
SELECT chunk_index FROM job_chunks WHERE status = 'processing' ORDER BY priority DESC LIMIT 10
"""
RETRYABLE = """
SELECT chunk_index FROM job_chunks WHERE status = 'failed' AND retry_count < 3 ORDER BY created_at
"""
FAILED = "SELECT chunk_index FROM job_chunks WHERE status = 'failed' ORDER BY created_at"
RETRYING = "SELECT chunk_index FROM job_chunks WHERE status = 'pending' AND retry_count > 0"
BY_TIER = "SELECT user_tier, count(*) FROM profiles GROUP BY user_tier ORDER BY user_tier"
INDEX_USE = """
SELECT relname, indexrelname, idx_scan, idx_tup_read, idx_tup_fetch
FROM pg_stat_user_indexes WHERE relname = 'job_chunks' ORDER BY idx_scan DESC
"""
OLDER_INDEX_USE = """
SELECT schemaname, tablename, indexname, idx_scan FROM pg_stat_user_indexes
WHERE tablename = 'job_chunks'
"""
USE_BY_TIER = """
SELECT user_tier, sum(images_processed) FROM usage_metrics
JOIN profiles ON profiles.id = usage_metrics.user_id GROUP BY user_tier ORDER BY user_tier
"""


def refused_by_the_database(place: Place, statement: str, name: str) -> None:
    with pytest.raises(DatabaseError, match=name):
        place.sql(statement)


@check()
def eleven_columns(place: Place) -> None:
    place.ran.append("catalogue: job_chunks")
    older = DATASET_TABLES["job_chunks"].columns
    assert len(older) == 11
    assert describe_table(connection, "job_chunks").columns[:11] == older


@check()
def five_indexes(place: Place) -> None:
    place.ran.append("catalogue: job_chunks")
    older = {
        name: text
        for name, text in DATASET_TABLES["job_chunks"].indexes.items()
        if name.startswith("ix_")
    }
    assert len(older) == 5
    assert older.items() <= describe_table(connection, "job_chunks").indexes.items()


@check(on=On.COPY)
def three_checks(place: Place) -> None:
    for name, value in (
        ("ck_job_chunks_status_valid", "status = 'lost'"),
        ("ck_job_chunks_priority_range", "priority = 11"),
        ("ck_job_chunks_retry_count_positive", "retry_count = -1"),
    ):
        refused_by_the_database(place, f"UPDATE job_chunks SET {value}", name)


@check(on=On.COPY)
def cascade(place: Place) -> None:
    place.sql("DELETE FROM crawl_jobs")
    assert place.sql("SELECT count(*) FROM job_chunks") == [(0,)]


@check(on=On.COPY)
def default_priority(place: Place) -> None:
    place.sql(INSERT)
    assert place.sql("SELECT priority, status FROM job_chunks WHERE chunk_index = 7") == [
        (5, "pending")
    ]


@check(on=On.COPY)
def urgent_first(place: Place) -> None:
    place.ran.append("jobs.queue.api.claim")
    claimed = [
        api.claim(kind_named("chunk"), limit=1, task_id=f"task-{number}")[0].id
        for number in range(2)
    ]
    urgent, other = (JobChunk.objects.get(pk=pk) for pk in claimed)
    assert (urgent.priority, other.priority) == (5, 3)


@check(on=On.COPY)
def images_per_job(place: Place) -> None:
    crawl = "crawl --source urls --from https://example.com/list.txt --owner {}@example.org"
    for name, allowed in (("ada", 100), ("bob", 1_000), ("eve", 10_000)):
        ask = f"{crawl.format(name)} --max-images {allowed + 1}"
        place.says(ask, f"allows {allowed}", code=2)
    place.manage(f"{crawl.format('eve')} --max-images 10000")


@check(on=On.COPY)
def tier_features(place: Place) -> None:
    ask = (
        "generate --provider local --operation text_to_image --param prompt=x"
        " --at 2130-01-01T12:00 --owner"
    )
    place.says(f"{ask} ada@example.org", "schedule: tier FREE does not have", code=2)
    place.says(f"{ask} bob@example.org --priority 9", "tier PRO allows 8", code=2)
    place.manage(f"{ask} bob@example.org")


@check(on=On.EMPTY)
def docstring_and_both_ways(place: Place) -> None:
    shop(place)
    place.packages.models("shop", common.PEN + common.PRICE)
    place.manage("db revision -m 'pens have a price' shop")
    text = common.written(place)
    for part in ('"""', "dependencies = ", "operations = "):
        assert part in text
    place.manage("db upgrade")
    place.manage("db downgrade shop -1 --yes")


@check(on=On.EMPTY)
def every_docstring(place: Place) -> None:
    place.ran.append("docstrings of the migrations")
    for (app, name), each in MigrationLoader(None).disk_migrations.items():
        if app in OURS:
            doc = __import__(each.__module__, fromlist=["x"]).__doc__
            assert len((doc or "").splitlines()) > 1, f"{app} {name}"
    shop(place)
    place.packages.write("shop", "0002_more", migration(depends=FIRST))
    place.says("db check", "docstring: shop 0002_more lacks a docstring", code=1)


@check(on=On.COPY)
def defaults(place: Place) -> None:
    place.sql(INSERT)


@check(on=On.EMPTY)
def index_that_blocks(place: Place) -> None:
    shop(place)
    text = 'migrations.AddIndex("Pen", models.Index(fields=["name"], name="ix_pens_name"))'
    place.packages.write("shop", "0002_index", migration(text, depends=FIRST))
    place.ask("INSERT INTO shop_pen (name) SELECT n FROM generate_series(1, 20) AS n")
    place.says("db upgrade --threshold 10", "AddIndexConcurrently", "Nothing was changed", code=1)


@check(on=On.EMPTY)
def constraint_that_blocks(place: Place) -> None:
    shop(place)
    text = (
        'migrations.AddConstraint("Pen", models.CheckConstraint('
        'condition=models.Q(name__gt=""), name="ck_pens_name"))'
    )
    place.packages.write("shop", "0002_check", migration(text, depends=FIRST))
    place.ask("INSERT INTO shop_pen (name) SELECT n FROM generate_series(1, 20) AS n")
    place.says("db upgrade --threshold 10", "CheckConstraint", "Nothing was changed", code=1)


@check()
def look_first(place: Place) -> None:
    place.manage("db current")
    place.manage("db history --verbose")
    assert place.sql("SELECT app, name, applied FROM django_migrations ORDER BY id DESC LIMIT 5")


@check(on=On.EMPTY)
def stamp_revision(place: Place) -> None:
    place.manage("db upgrade 001")
    place.ask("DELETE FROM django_migrations WHERE app = 'crawler'")
    place.says("db stamp 001 --yes", "Stamped: 001. No migration was run.")
    place.says("db status", "0002_job_chunks", code=1)


@check(on=On.EMPTY)
def stamp_base(place: Place) -> None:
    place.manage("db upgrade 001")
    place.says("db stamp base --yes", "The schema is not that of base", code=1)
    place.manage("db stamp base --yes --force")
    assert place.sql("SELECT count(*) FROM django_migrations") == [(0,)]


@check(on=On.EMPTY)
def stuck(place: Place) -> None:
    place.manage("db upgrade 002")
    place.ask("ALTER TABLE profiles DROP COLUMN user_tier")
    place.says("db stamp 001 --yes", "Stamped: 001.")
    place.manage("db downgrade base --yes")
    assert place.one("SELECT to_regclass('profiles')") is None


@check(on=On.COPY)
def history_recreated(place: Place) -> None:
    place.sql("DROP TABLE django_migrations")
    place.says("db stamp head --yes", "Stamped: head. No migration was run.")
    place.says("db status", "At head: nothing is pending.")
    assert place.sql("SELECT count(*) FROM job_chunks") == [(7,)]


@check(on=On.COPY)
def new_start(place: Place) -> None:
    place.ran.append("admin, Job chunks: Retry failed chunks")
    chunk = place.one("SELECT id FROM job_chunks WHERE chunk_index = 5")
    sent = {"action": "retry", "_selected_action": str(chunk)}
    assert "tried again" in place.page("/admin/crawler/jobchunk/", **sent)
    assert place.sql(
        "SELECT chunk_index, status, retry_count FROM job_chunks WHERE chunk_index > 3"
    ) == [
        (4, "completed", 0),
        (6, "failed", 3),
        (5, "pending", 0),
    ]


def pictures(folder: Path, count: int) -> Path:
    made = folder / "pictures"
    made.mkdir()
    for seed in range(count):
        (made / f"{seed}.jpg").write_bytes(jpeg(96, 64, seed=seed))
    return made


@check(on=On.COPY)
def attempts(place: Place) -> None:
    failed = "SELECT error_message FROM job_chunks WHERE chunk_index = 5"
    assert place.sql(failed) == [("No space left on device",)]
    place.ask("DELETE FROM crawl_jobs")
    source = pictures(place.folder, 2)
    with override_settings(CRAWL_FOLDER_ROOTS=[str(place.folder)]):
        place.manage(f"crawl --source folder --from {source} --max-images 2 --chunk-size 2")
        place.work(lambda: place.ask("SELECT 1 FROM job_chunks WHERE status = 'completed'"))
    chunk = place.one("SELECT id FROM job_chunks")
    assert place.sql(
        "SELECT number, outcome, error_class FROM work_attempts"
        f" WHERE kind = 'chunk' AND item_id = {chunk} ORDER BY number DESC LIMIT 20"
    )[-1:] == [(1, "completed", None)]
    assert "All attempts" in place.page(f"/admin/crawler/jobchunk/{chunk}/change/")


@check(on=On.COPY)
def with_celery(place: Place) -> None:
    place.ask("DELETE FROM crawl_jobs")
    place.ask("DELETE FROM provider_submissions")
    place.ask("DELETE FROM jobs")
    source = pictures(place.folder, 6)
    state = "SELECT status, count(*), count(task_id) FROM job_chunks GROUP BY status"
    with place.worker():
        line = f"crawl --source folder --from {source} --max-images 6 --chunk-size 2"
        place.process(f"python manage.py {line}", env={"CRAWL_FOLDER_ROOTS": str(place.folder)})
        wait_until(lambda: place.ask(state) == [("completed", 3, 3)], seconds=60)
    assert place.sql(state) == [("completed", 3, 3)]


@check(on=On.COPY)
def change_tier(place: Place) -> None:
    place.ran.append("admin, Profiles: Change tier to PRO")
    ada = place.one("SELECT id FROM profiles WHERE email = 'ada@example.org'")
    sent = {"action": "change_tier_to_pro", "_selected_action": str(ada)}
    assert "1 changed to PRO" in place.page("/admin/accounts/profile/", **sent)
    assert place.sql("SELECT user_tier FROM profiles WHERE email = 'ada@example.org'") == [("PRO",)]


@check(on=On.COPY)
def billing(place: Place) -> None:
    place.manage("credits grant bob@example.org 10 --reference invoice-17")
    place.manage(
        "generate --provider openai --operation text_to_image --param prompt='a fox'"
        " --owner bob@example.org"
    )
    held = all_tiers()["PRO"].price_per_image
    assert place.sql("SELECT amount FROM credit_transactions WHERE type = 'hold'") == [(-held,)]
    place.says("credits check", "Each balance is the sum of its ledger.")


@check(on=On.COPY)
def use_by_tier(place: Place) -> None:
    place.ask(
        "INSERT INTO usage_metrics (id, user_id, metric_date, images_processed)"
        " SELECT gen_random_uuid(), id, current_date, 5 FROM profiles"
    )
    assert place.sql(USE_BY_TIER) == [("ENTERPRISE", 5), ("FREE", 5), ("PRO", 5)]
    told = place.manage("tiers --json").json
    assert {each["tier"]: each["images"] for each in told["tiers"]} == dict.fromkeys(
        ("FREE", "PRO", "ENTERPRISE"), 5
    )
    [opened] = [
        each for each in told["use"] if (each["tier"], each["what"]) == ("PRO", "open crawl jobs")
    ]
    assert (opened["most"], opened["most_by"]) == (1, "bob@example.org")
    assert "Use against each limit" in place.page("/admin/tiers/")


@check(on=On.COPY)
def people_by_tier(place: Place) -> None:
    assert place.sql(BY_TIER) == [("ENTERPRISE", 1), ("FREE", 1), ("PRO", 1)]
    ada = place.one("SELECT id FROM profiles WHERE email = 'ada@example.org'")
    sent = {"action": "change_tier_to_pro", "_selected_action": str(ada)}
    place.page("/admin/accounts/profile/", **sent)
    told = place.manage("tiers --by day --json").json
    assert told["over_time"][-1]["people"] == {"FREE": 0, "PRO": 2, "ENTERPRISE": 1}
    assert [each["email"] for each in told["changes"]] == ["ada@example.org"]
    page = place.page("/admin/tiers/")
    assert "People over time" in page
    assert "/admin/accounts/profile/?user_tier__exact=PRO" in page


@check()
def failed_chunks(place: Place) -> None:
    assert place.sql(RETRYABLE) == []
    assert place.sql(FAILED) == [(6,), (5,)]
    assert place.sql(RETRYING) == [(1,)]
    place.says("queue status --kind chunk", "2 failed for good.")


@check()
def index_use(place: Place) -> None:
    refused_by_the_database(place, OLDER_INDEX_USE, "tablename")
    names = {name for _, name, *_ in place.sql(INDEX_USE)}
    assert {"ix_job_chunks_job_id", "ix_job_chunks_priority_created"} <= names
    assert "ix_job_chunks_job_id" in place.manage("queue status --kind chunk").out


@check()
def monitored(place: Place) -> None:
    chunk = place.manage("queue status --kind chunk --json").json["kinds"]["chunk"]
    recent = chunk["recent"]
    assert round(recent["failed_percent"]) == 67
    assert recent["seconds_p50"] == pytest.approx(3, abs=0.1)
    assert recent["retries"] == {"0": 1, "3": 2}
    assert chunk["tiers"]["PRO"]["number"] == 4


@check(on=On.COPY)
def trends(place: Place) -> None:
    place.sql(
        "INSERT INTO work_rollups (kind, hour, counted_until, completed, failed, retries, lost,"
        " given_back, seconds, seconds_max, times) SELECT 'chunk', hour, hour, 3, 1, 2, 0, 0, 40, 20,"
        " array_fill(0::bigint, ARRAY[10]) || 4::bigint || array_fill(0::bigint, ARRAY[7])"
        " FROM date_trunc('hour', now()) AS hour"
    )
    for unit in ("hour", "day", "week"):
        told = place.manage(f"queue trends --by {unit} --kind chunk --json").json["kinds"]["chunk"]
        assert (told[-1]["finished"], told[-1]["failed_percent"], told[-1]["retries"]) == (4, 25, 2)
        assert 10 <= told[-1]["seconds_p50"] <= 20
        assert "25.0 %" in place.manage(f"queue trends --by {unit} --kind chunk").out
        assert f"Finished by the {unit}" in place.page(f"/admin/status/?by={unit}")


@check()
def by_environment(place: Place) -> None:
    said = place.process("python manage.py db status")
    assert "From         DATABASE_URL in the environment" in said


SCHEMA = (
    Row(
        "`job_chunks` with eleven columns, their types and defaults",
        FULFILLED,
        "`job_chunks`",
        eleven_columns,
        "Ours come after them.",
    ),
    Row("it cascades from `crawl_jobs`", FULFILLED, "`job_chunks_job_id_fkey`", cascade),
    Row("five indexes by name", FULFILLED, "`ix_job_chunks_…`", five_indexes),
    Row("three checks by name", FULFILLED, "`ck_job_chunks_…`", three_checks),
    Row(
        "`image_range` is `{start, end}`",
        FULFILLED,
        "`job_chunks.image_range`",
        query(
            "SELECT (image_range ->> 'start')::int, (image_range ->> 'end')::int"
            " FROM job_chunks WHERE chunk_index = 3",
            (30, 40),
        ),
        "It means the indices from start to end − 1.",
    ),
    Row("priority 0 to 10, default 5", FULFILLED, "`job_chunks.priority`", default_priority),
    Row("a higher priority is more urgent", FULFILLED, "`job_chunks.priority`", urgent_first),
    Row(
        "`profiles.user_tier` varchar(20) not null, default FREE",
        FULFILLED,
        "`profiles.user_tier`",
        column("profiles", "user_tier", "character varying(20)", default="'FREE'"),
    ),
    Row(
        "`user_tier` has an index, and a check for FREE, PRO and ENTERPRISE",
        FULFILLED,
        "`ix_profiles_user_tier`, `ck_profiles_user_tier_valid`",
        every(
            index("profiles", "ix_profiles_user_tier", "btree (user_tier)"),
            constraint("profiles", "ck_profiles_user_tier_valid", "FREE", "PRO", "ENTERPRISE"),
        ),
    ),
    Row(
        "FREE limited, PRO enhanced, ENTERPRISE full features",
        FULFILLED,
        "[the table of tiers](../README.md#priorities-and-tiers)",
        images_per_job,
        "A refusal names the limit and the tier.",
    ),
)

COMMANDS = (
    Row(
        "`alembic upgrade head`",
        FULFILLED,
        "`manage.py db upgrade head`",
        common.upgrade_from_nothing,
        "`manage.py migrate` does the same.",
    ),
    Row(
        "`alembic upgrade 002`",
        FULFILLED,
        "`manage.py db upgrade 002`",
        common.upgrade_to_revision,
        "An older id means the point of our history that equals it.",
    ),
    Row(
        "`alembic downgrade -1`",
        FULFILLED,
        "`manage.py db downgrade -1`",
        common.downgrade_one,
        "The last one applied, of whichever app. It says what is lost, and asks.",
    ),
    Row(
        "`alembic downgrade 001`",
        FULFILLED,
        "`manage.py db downgrade 001`",
        common.downgrade_to_revision,
    ),
    Row(
        "`alembic downgrade base`",
        FULFILLED,
        "`manage.py db downgrade base`",
        common.downgrade_to_nothing,
    ),
    Row(
        "`alembic current`",
        FULFILLED,
        "`manage.py db current`, `manage.py db status`",
        common.current,
        "Two first lines, Current and Head, with the older id where it is that point.",
    ),
    Row(
        "`alembic history`",
        FULFILLED,
        "`manage.py db history`",
        common.history,
        "In the order of application; what is pending comes last.",
    ),
    Row(
        "`alembic history -v`",
        FULFILLED,
        "`manage.py db history -v`",
        common.history_verbose,
        "With what each migration says of itself.",
    ),
    Row(
        "`alembic upgrade head --sql`",
        FULFILLED,
        "`manage.py db upgrade head --sql`",
        common.sql_script,
        "It needs no database.",
    ),
    Row(
        "`alembic revision --autogenerate -m MESSAGE`",
        FULFILLED,
        "`manage.py db revision --autogenerate -m MESSAGE`",
        common.revision,
        "It writes [the safe form](migrations.md#what-db-revision-writes) of each change.",
    ),
    Row(
        "`alembic revision -m MESSAGE`",
        TRANSLATED,
        "`manage.py db revision -m MESSAGE APP --empty`",
        common.empty_revision,
    ),
    Row(
        "`alembic stamp 001`",
        FULFILLED,
        "`manage.py db stamp 001`",
        stamp_revision,
        "It first proves that the schema is the one of that point.",
    ),
    Row(
        "`alembic stamp base`",
        TRANSLATED,
        "`manage.py db stamp base --force`",
        stamp_base,
        "Without `--force` it is refused while the tables are there.",
    ),
)

PRACTICE = (
    Row(
        "a migration file has a docstring, revision, down_revision, upgrade and downgrade",
        TRANSLATED,
        "docstring, file name, `dependencies`, `operations`",
        docstring_and_both_ways,
        "One list of operations serves both ways.",
    ),
    Row("always a way back", FULFILLED, "`manage.py db downgrade base --plan`", common.reversible),
    Row(
        "tested locally",
        FULFILLED,
        "`manage.py db rehearse`",
        common.rehearse,
        "On a copy of the database, which is gone afterwards.",
    ),
    Row(
        "descriptive names",
        FULFILLED,
        "`manage.py db revision -m MESSAGE`",
        common.revision,
        "The file is named after the message.",
    ),
    Row(
        "small migrations",
        TRANSLATED,
        "[reviewing one](migrations.md#reviewing-one)",
        read("docs/migrations.md", "One logical change, small enough to take back by itself."),
        "A rule for the reviewer.",
    ),
    Row(
        "comments",
        FULFILLED,
        "the docstring: what, why, lock, way back",
        every_docstring,
        "`manage.py db check` refuses one that says less.",
    ),
    Row(
        "server defaults",
        FULFILLED,
        "`db_default`",
        defaults,
        "An INSERT of the documented columns works.",
    ),
    Row(
        "indexes",
        FULFILLED,
        "[an index](migrations.md#an-index)",
        index_that_blocks,
        "On a large table `manage.py db upgrade` stops before one that blocks, and names the safe way.",
    ),
    Row(
        "constraints",
        FULFILLED,
        "[safe on a big table](migrations.md#safe-on-a-big-table)",
        constraint_that_blocks,
        "As for indexes.",
    ),
    Row(
        "it fails to apply: look at `current`, `history -v` and the version table",
        TRANSLATED,
        "`manage.py db status`, `manage.py db history --verbose`, `django_migrations`",
        look_first,
    ),
    Row(
        "it is stuck: `stamp 001`, then `downgrade base`",
        TRANSLATED,
        "`manage.py db stamp 001`, `manage.py db downgrade base`",
        stuck,
        "Mostly `manage.py db upgrade` again is enough: it goes on where it stopped. See [rollback of a "
        "stuck migration](migrations.md#rollback-of-a-stuck-migration).",
    ),
    Row(
        "recreate the history in development: drop the version table, `stamp base`, `upgrade head`",
        TRANSLATED,
        "`manage.py db stamp head`; from nothing, `manage.py db wipe`, `manage.py db upgrade`",
        history_recreated,
        "The tables and their rows stay. See [recreating the migration "
        "history](migrations.md#recreating-the-migration-history).",
    ),
)

DIAGRAM = (
    Row(
        "a profile has many projects",
        FULFILLED,
        "`projects.user_id`",
        foreign_key("projects", "user_id", "profiles"),
    ),
    Row(
        "a profile has many crawl jobs",
        TRANSLATED,
        "`crawl_jobs.project_id`",
        every(
            foreign_key("crawl_jobs", "project_id", "projects"),
            foreign_key("projects", "user_id", "profiles"),
        ),
        "Through its projects.",
    ),
    Row(
        "a profile has many activity logs",
        FULFILLED,
        "`activity_logs.user_id`",
        foreign_key("activity_logs", "user_id", "profiles"),
    ),
    Row(
        "a profile has credit accounts, and these many transactions",
        FULFILLED,
        "`credit_accounts.user_id`, `credit_transactions.account_id`",
        every(
            foreign_key("credit_accounts", "user_id", "profiles", unique=True),
            foreign_key("credit_transactions", "account_id", "credit_accounts"),
        ),
        "At most one account a profile.",
    ),
    Row(
        "a profile has many notifications, API keys and usage metrics",
        FULFILLED,
        "`notifications`, `api_keys`, `usage_metrics`",
        every(
            foreign_key("notifications", "user_id", "profiles"),
            foreign_key("api_keys", "user_id", "profiles"),
            foreign_key("usage_metrics", "user_id", "profiles"),
        ),
        "Nothing writes notifications and API keys yet.",
    ),
    Row(
        "a profile has one row of notification preferences",
        FULFILLED,
        "`notification_preferences.user_id`",
        every(
            foreign_key("notification_preferences", "user_id", "profiles", unique=True),
            query(
                "SELECT count(*), count(preferences.id) FROM profiles"
                " LEFT JOIN notification_preferences AS preferences"
                " ON preferences.user_id = profiles.id",
                (3, 3),
            ),
        ),
        "The row is made with the profile. Nothing is sent yet.",
    ),
    Row(
        "a crawl job has many chunks and images",
        FULFILLED,
        "`job_chunks.job_id`, `images.crawl_job_id`",
        every(
            foreign_key("job_chunks", "job_id", "crawl_jobs"),
            foreign_key("images", "crawl_job_id", "crawl_jobs"),
        ),
    ),
    Row(
        "a project has many crawl jobs",
        FULFILLED,
        "`crawl_jobs.project_id`",
        foreign_key("crawl_jobs", "project_id", "projects"),
    ),
)

ENABLED = (
    Row(
        "chunks enable progress per chunk",
        FULFILLED,
        "`manage.py crawl_job ID status`",
        command("crawl_job 1 status", "1 of 7 chunks are completed, 2 failed."),
    ),
    Row(
        "parallel processing with Celery",
        FULFILLED,
        "`celery -A pixsim worker`",
        with_celery,
        "The row in PostgreSQL decides who works on what; Celery's messages only wake its workers.",
    ),
    Row(
        "independent retry",
        FULFILLED,
        "admin, *Job chunks*, action *Retry failed chunks*; `manage.py crawl_job ID retry`",
        new_start,
    ),
    Row("priority queueing", FULFILLED, "`job_chunks.priority`", urgent_first),
    Row(
        "error tracking per chunk",
        FULFILLED,
        "`job_chunks.error_message`; its last 20 attempts on its page and in `work_attempts`",
        attempts,
    ),
    Row(
        "tiers enable subscription management",
        FULFILLED,
        "admin, *Profiles*, action *Change tier to PRO*",
        change_tier,
        "The activity log says who changed what.",
    ),
    Row(
        "feature access control",
        FULFILLED,
        "[the table of tiers](../README.md#priorities-and-tiers)",
        tier_features,
        "Each feature of the table is asked for where it acts.",
    ),
    Row(
        "billing integration",
        TRANSLATED,
        "`manage.py credits grant EMAIL AMOUNT --reference INVOICE`",
        billing,
        "A ledger of credits, with a price by tier; payments come in as grants.",
    ),
    Row(
        "usage analytics by tier",
        FULFILLED,
        "admin, *People by tier*; `manage.py tiers`; `usage_metrics` joined with `profiles`",
        use_by_tier,
        "What the people of each tier use, in all and of each limit.",
    ),
    Row(
        "tier-based quotas",
        FULFILLED,
        "`manage.py crawl --owner EMAIL`",
        images_per_job,
        "Checked in the transaction that creates the work.",
    ),
)

QUERIES = (
    Row(
        "an index serves the look-up by job",
        FULFILLED,
        "`ix_job_chunks_job_id`",
        uses_index(
            "SELECT 1 FROM job_chunks WHERE job_id = 1",
            "ix_job_chunks_job_id",
            "uq_job_chunks_job_index",
        ),
        "Or, where that is enough, `uq_job_chunks_job_index`.",
    ),
    Row(
        "an index serves status filtering",
        FULFILLED,
        "`ix_job_chunks_status`",
        uses_index(
            "SELECT * FROM job_chunks WHERE status = 'failed'",
            "ix_job_chunks_status",
            "ix_job_chunks_job_status",
        ),
    ),
    Row(
        "an index serves job and status",
        FULFILLED,
        "`ix_job_chunks_job_status`",
        uses_index(
            "SELECT 1 FROM job_chunks WHERE job_id = 1 AND status = 'failed'",
            "ix_job_chunks_job_status",
        ),
    ),
    Row(
        "an index serves the priority queue",
        FULFILLED,
        "`ix_job_chunks_priority_created`",
        uses_index(
            "SELECT 1 FROM job_chunks ORDER BY priority, created_at",
            "ix_job_chunks_priority_created",
        ),
        "Claims read a narrower one, `ix_job_chunks_claim`, with ready chunks only.",
    ),
    Row(
        "an index serves task tracking",
        FULFILLED,
        "`ix_job_chunks_task_id`",
        uses_index("SELECT 1 FROM job_chunks WHERE task_id = 'task-4'", "ix_job_chunks_task_id"),
    ),
    Row(
        "query: pending chunks of a job by priority descending, then the oldest",
        FULFILLED,
        "`JobChunk.objects.pending_of_job(ID)`",
        query(OF_A_JOB, (2,), (1,), (0,)),
    ),
    Row(
        "query: processing chunks by priority, limit 10",
        FULFILLED,
        "the same query",
        query(PROCESSING, (3,)),
    ),
    Row(
        "query: failed chunks with `retry_count < 3`, the oldest first",
        TRANSLATED,
        "[the queries that answer](operations.md#queries)",
        failed_chunks,
        "It is empty by design: a chunk with retries left is pending and tried again by itself.",
    ),
    Row(
        "query: number of users by tier",
        FULFILLED,
        "the same query",
        query(BY_TIER, ("ENTERPRISE", 1), ("FREE", 1), ("PRO", 1)),
    ),
    Row(
        "regularly: `ANALYZE job_chunks`",
        FULFILLED,
        "the same, or `manage.py queue maintain`",
        query("ANALYZE job_chunks"),
        "Autovacuum is set for it, too.",
    ),
    Row(
        "regularly: `VACUUM ANALYZE job_chunks`",
        FULFILLED,
        "the same, or `manage.py queue maintain`",
        query("VACUUM ANALYZE job_chunks"),
    ),
    Row(
        "regularly: index use from `pg_stat_user_indexes`",
        TRANSLATED,
        "`manage.py queue status`, or the query with `relname` and `indexrelname`",
        index_use,
        "As documented it fails: that view has no columns `tablename` and `indexname`. The mended query "
        "stands beside it in [PostgreSQL](operations.md#postgresql).",
    ),
    Row(
        "monitor chunk processing time",
        FULFILLED,
        "`manage.py queue status`; by the hour, day and week: `manage.py queue trends`, and as charts: "
        "admin, *Status*",
        trends,
    ),
    Row(
        "monitor the failed chunk percentage",
        FULFILLED,
        "`manage.py queue status` and `queue trends`, *failed*; admin, *Status*",
        trends,
    ),
    Row(
        "monitor the distribution of retry counts",
        FULFILLED,
        "`manage.py queue status`, *Retries*; over time: `queue trends`, *retries*; admin, *Status*",
        monitored,
    ),
    Row(
        "monitor the distribution of user tiers",
        FULFILLED,
        "the query of users by tier; over time, with who changed whose: admin, *People by tier*, and "
        "`manage.py tiers`",
        people_by_tier,
        "Open items by tier: `manage.py queue status`.",
    ),
    Row(
        "monitor query performance on indexes",
        TRANSLATED,
        "`manage.py queue status`, *Indexes*; *Statements*, with the time of each, where "
        "`pg_stat_statements` is there",
        command("queue status --kind chunk", "ix_job_chunks_claim", "rows read"),
    ),
    Row(
        "configuration: DATABASE_URL in the environment",
        FULFILLED,
        "`DATABASE_URL`",
        by_environment,
    ),
)

GUIDE = Guide(
    "pixcrawler",
    "PixCrawler, migration guide",
    "Revisions 001 (job chunks) and 002 (user tier): the schema, the commands, what they are for.",
    (*SCHEMA, *COMMANDS, *PRACTICE, *DIAGRAM, *ENABLED, *QUERIES),
)
