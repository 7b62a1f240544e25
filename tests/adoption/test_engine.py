"""The pieces of `db adopt`: which revision, which SQL, which rows, and all of it there and back."""

import json

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from pixsim.adoption.conversions import SUSPICIOUS, conversion, mended
from pixsim.adoption.recognising import Unrecognised, made_by_older_system, recognise
from pixsim.core.crypto import cipher
from pixsim.schema.catalog import Column, read_schema
from pixsim.schema.errors import UsageError
from pixsim.schema.history import load_migrations
from tests.adoption.legacy import STATES, messy
from tests.scratch import ALIAS

GENERATOR, CRAWLER = STATES["pixsim7-1105simplifylineage-models"], STATES["pixcrawler-002"]


def point(assume: str | None = None) -> str:
    connection = connections[ALIAS]
    loader = load_migrations(connection)
    return recognise(connection, read_schema(connection), loader, assume=assume).text


@pytest.fixture
def look(sql):
    """All rows of all tables of the schemas that a site sees, as text."""

    def rows() -> dict[str, list[str]]:
        tables = sql(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'v', 'S')"
            " AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)' ORDER BY 1"
        )
        return {
            name: sorted(map(str, sql(f"SELECT row_to_json(t)::text FROM (TABLE {name}) AS t")))
            for (name,) in tables
        }

    return rows


# Which revision


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_every_state_is_recognised_and_nothing_else_is_taken_for_it(database, sql, state):
    state.build(sql)
    assert made_by_older_system(connections[ALIAS])
    found = point()
    assert (
        found
        == f"{state.system.replace('pixsim7', 'PixSim7').replace('pixcrawler', 'PixCrawler')}"
        + (f" at {state.revision}" if state.revision else " before 001")
    )


def test_what_cannot_be_trusted_is_refused_with_what_the_tables_look_like(database, sql):
    GENERATOR.build(sql)
    looks = (
        "The tables look like PixSim7 at 2330addema exactly. If that is right, say `manage.py db "
        "adopt --assume 2330addema`, or, with the same tables, `--assume 1105simplifylineage`."
    )

    def refusal(assume: str | None = None) -> str:
        with pytest.raises(Unrecognised) as refused:
            point(assume)
        return str(refused.value)

    sql("UPDATE alembic_version SET version_num = '0f49690850e3'")
    assert refusal() == (
        f"alembic_version names 0f49690850e3, a revision that nobody has. Nothing was written. {looks}"
    )
    assert point("1105simplifylineage") == "PixSim7 at 1105simplifylineage"
    assert refusal("daa977a0bfa9") == (
        f"--assume daa977a0bfa9 is not right. Nothing was written. {looks}"
    )
    with pytest.raises(UsageError, match=r"--assume 9: nobody knows it\. Say one of base, 001"):
        point("9")
    sql("UPDATE alembic_version SET version_num = 'daa977a0bfa9'")
    assert refusal().startswith("alembic_version names daa977a0bfa9, but its tables are not so.")
    sql("INSERT INTO alembic_version VALUES ('7425b92ac62e')")
    assert refusal().startswith("alembic_version names 2 revisions: 7425b92ac62e, daa977a0bfa9.")
    sql("DELETE FROM alembic_version")
    assert refusal().startswith("alembic_version is empty.")
    sql("DROP TABLE alembic_version")
    sql("ALTER TABLE jobs DROP COLUMN params")
    assert "at 2330addema but for 1 difference (jobs.params is missing)." in refusal()
    CRAWLER.build(sql)
    assert "the tables of two systems, PixCrawler and PixSim7" in refusal()


def test_what_is_no_older_systems_is_left_alone(database, sql):
    assert not made_by_older_system(connections[ALIAS])
    with pytest.raises(Unrecognised, match=r"This database is empty.*`manage.py migrate`"):
        point()
    sql("CREATE TABLE songs (id integer)")
    with pytest.raises(
        Unrecognised,
        match="those of no system that we know",
    ):
        point()


def test_our_own_database_is_not_adopted(database, db, sql):
    CRAWLER.build(sql)
    MigrationRecorder(connections[ALIAS]).record_applied("accounts", "0001_initial")
    ran = db("adopt", "--apply", "--yes")
    assert (ran.code, ran.err) == (
        1,
        "This database is ours already: its migrations are recorded. Nothing was written. See "
        "`manage.py db status`.\n",
    )


# Which SQL


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (r'{"a": "x\u0000y"}', {"a": "x\ufffdy"}),
        (
            r'{"p\u0000": ["not one: \\u0000", "\u0000\u0000"]}',
            {"p\ufffd": ["not one: \\u0000", "\ufffd\ufffd"]},
        ),
        (r'"\\\u0000"', "\\\ufffd"),
        (
            r'["\ud800", "\udc00", "\ud83d\ude00", "\ud800\ud83d\ude00", "\ud800x"]',
            ["\ufffd", "\ufffd", "😀", "\ufffd😀", "\ufffdx"],
        ),
        (r'"\uD83D\uDE00 \u00e9"', "😀 é"),
    ],
)
def test_json_that_jsonb_refuses_is_mended_and_nothing_else(database, sql, text, kept):
    [(is_suspicious, result)] = sql(
        f"SELECT t ~ '{SUSPICIOUS}', ({mended('t')})::jsonb::text FROM (SELECT %s::text AS t) AS x".replace(
            "%s", f"$t${text}$t$"
        )
    )
    assert json.loads(result) == kept
    assert is_suspicious or json.loads(text) == kept


@pytest.mark.parametrize(
    ("value", "found", "wanted", "fits"),
    [
        ("0.1", "real", "double precision", True),
        ("0.1", "numeric", "double precision", True),
        ("1e-30", "numeric(40,35)", "double precision", True),
        ("9007199254740993", "bigint", "double precision", False),
        ("1e400", "numeric", "double precision", False),
        ("99999999.99", "numeric", "numeric(10,2)", True),
        ("1e20", "double precision", "numeric(10,2)", False),
        ("1.234", "numeric", "numeric(10,2)", False),
        ("7", "double precision", "integer", True),
        ("7.5", "double precision", "integer", False),
        ("1e300", "double precision", "integer", False),
        ("NULL", "bigint", "integer", True),
    ],
)
def test_numbers_that_do_not_fit_are_seen_before_anything_fails(
    database, sql, value, found, wanted, fits
):
    way = conversion(
        Column("n", found, True),
        Column("n", wanted, True),
        enumeration=False,
        turned=False,
        secret=False,
    )
    [(unfit,)] = sql(
        f"SELECT coalesce({way.unfit or 'false'}, false) FROM (SELECT {value}::{found} AS n) AS o"
    )
    assert unfit is not fits
    if fits:
        sql(f"SELECT {way.sql} FROM (SELECT {value}::{found} AS n) AS o")


# There and back


def site(run) -> None:
    """What a site made of PixSim7's database over the years."""
    messy.dangling_jobs(run)
    messy.dangling_submissions(run, 20)
    messy.nul_in_json(run)
    messy.colliding_users(run)
    messy.odd_priorities(run)
    messy.required_extra_column(run, "assets")
    messy.renamed_index(run, "ix_jobs_user_id")
    messy.missing_index(run, "ix_jobs_status")
    messy.naive_timestamp(run, "users", "created_at")
    run("CREATE VIEW urgent AS SELECT id, name FROM jobs WHERE priority > 7")
    run("CREATE TABLE projects (id serial PRIMARY KEY, job_id integer REFERENCES jobs (id))")
    run("INSERT INTO projects (job_id) SELECT id FROM jobs WHERE id IN (1, 5)")
    run("ALTER TABLE jobs ADD COLUMN held text DEFAULT 'mine'")
    run("CREATE INDEX site_index ON jobs (retry_count)")
    run("CREATE INDEX site_partial ON jobs (id) WHERE status = 'PENDING'")
    run(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.updated_at = now(); RETURN NEW; END'"
    )
    for table in ("workspaces", "provider_accounts"):
        run(
            f"CREATE TRIGGER touched BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION touch()"
        )
    run("ALTER TABLE provider_accounts ENABLE ALWAYS TRIGGER touched")
    run("ALTER TABLE provider_accounts ALTER success_rate TYPE real")
    run("ALTER TABLE jobs ALTER started_at TYPE timestamp(3)")
    run("SELECT setval('users_id_seq', 5000000)")
    run("UPDATE jobs SET params = NULL WHERE id = 3")


def test_a_messy_database_is_adopted_and_given_back_exactly(database, db, sql, look):
    GENERATOR.build(sql)
    GENERATOR.fill(sql, jobs=60)
    site(sql)
    rows, schema = look(), read_schema(connections[ALIAS])

    seen = db("adopt", "--json")
    assert (seen.code, seen.json["applied"]) == (0, False)
    assert look() == rows
    kinds = {each["what"]: each["kind"] for each in seen.json["differences"]}
    assert kinds["jobs.priority"] == kinds["jobs.status"] == "converted"
    assert kinds["jobs.held"] == kinds["index site_partial of jobs"] == "converted"
    assert (
        kinds["index ix_jobs_user_id of jobs"]
        == kinds["trigger touched of workspaces"]
        == "harmless"
    )
    assert {each["what"]: each["text"] for each in seen.json["differences"]}["view urgent"] == (
        "the site's own; made anew over our tables. Look at it again, for what it reads is converted: "
        "jobs.priority"
    )

    done = db("adopt", "--apply", "--yes", "--json")
    assert done.code == 0, done.err
    foretold = {}
    for each in seen.json["quarantine"]:
        foretold[each["table"]] = foretold.get(each["table"], 0) + each["rows"]
    assert done.json["quarantined"] == foretold == {"jobs": 3, "provider_submissions": 27}

    assert sql("SELECT priority, params::text, held_adopted FROM jobs WHERE id = 3") == [
        (7, "{}", "mine")
    ]
    assert sql("SELECT quarantine_reason FROM adoption_quarantine_jobs ORDER BY id") == [
        ("it breaks ck_jobs_priority_range",),
        ("it breaks ck_jobs_priority_range",),
        ("user_id points at no row of auth_user (jobs_user_id_fkey)",),
    ]
    assert sql(
        "SELECT quarantine_reason, count(*) FROM adoption_quarantine_provider_submissions GROUP BY 1"
    ) == [
        ("job_id points at no row of jobs (provider_submissions_job_id_fkey)", 27),
    ]
    assert sql(
        "SELECT column_name, was FROM adoption_changes WHERE table_name = 'jobs' AND row_id ="
        f" '{messy.FIRST_KEY + 2}' AND column_name LIKE '%id' ORDER BY 1"
    ) == [
        ("parent_job_id", str(messy.FIRST_KEY + 9)),
        ("workspace_id", str(messy.FIRST_KEY)),
    ]
    assert sql("SELECT status, left(error_message, 22) FROM jobs WHERE id = 1") == [
        ("failed", "It was being processed")
    ]
    assert sql("SELECT min(id) FROM adoption_held_jobs") == [(4,)]
    assert sql("SELECT email FROM auth_user WHERE username LIKE 'dup%' ORDER BY id") == [
        ("Dup@Example.org",),
        ("",),
        ("",),
    ]
    (token,) = sql("SELECT cookies FROM provider_accounts WHERE id = 2")[0]
    assert cipher.decrypt(token, place="") == r'{"session": "x\u0000"}'
    assert sql(
        "SELECT count(password), count(cookies::text) FROM pixsim_adopted.provider_accounts"
    ) == [(0, 0)]
    assert sql("SELECT nextval('jobs_id_seq') > max(id) FROM jobs") == [(True,)]
    # A user who is gone is never followed by another one of the same number.
    assert sql("SELECT nextval('auth_user_id_seq')") == [(5_000_001,)]
    assert sql("SELECT app, name FROM pixsim_migration_files ORDER BY 1, 2") == sql(
        "SELECT app, name FROM django_migrations ORDER BY 1, 2"
    )
    assert sql("SELECT count(*) FROM urgent") > [(0,)]
    assert sql("SELECT convalidated FROM pg_constraint WHERE conname = 'projects_job_id_fkey'") == [
        (False,)
    ]

    undone = db("adopt", "--undo", "--yes")
    assert (undone.code, undone.out) == (
        0,
        "Undone: the older tables are as they were, proved by their checksums.\n",
    )
    assert look() == rows
    again = read_schema(connections[ALIAS])
    assert (again.tables, again.types) == (schema.tables, schema.types)


def test_what_the_site_made_of_its_own_is_known_to_verify_and_still_watched(database, db, sql):
    CRAWLER.build(sql)
    CRAWLER.fill(sql, jobs=5)
    sql(
        "ALTER TABLE images ADD site_tag varchar(20) NOT NULL DEFAULT 'x';"
        " CREATE INDEX site_tags ON images (site_tag)"
    )
    assert db("adopt", "--apply", "--yes").code == 0

    def names(key: str) -> list[str]:
        return [f"{one['kind']} {one['name']}" for one in db("verify", "--json").json[key]]

    own = ["column site_tag", "index site_tags"]
    assert (db("verify").code, names("accepted")) == (0, own)
    for row in db("accept", "--list", "--json").json["accepted"]:
        assert row["why"] == "carried over by `db adopt`"
    call_command("migrate", database=ALIAS, verbosity=0)
    verified = db("verify")
    assert (verified.code, names("accepted")) == (0, own), verified.out
    assert "Known: column images.site_tag: expected nothing, found character" in verified.out

    sql("ALTER TABLE images ALTER site_tag TYPE text; ALTER TABLE images ADD other text")
    verified = db("verify")
    assert verified.code == 1
    assert names("differences") == ["column other", "column site_tag"]
    assert db("accept", "--revoke", "site_tags").code == 0
    assert names("differences")[-1] == "index site_tags"


def test_undoing_loses_nothing_that_was_written_since(database, db, sql, look):
    CRAWLER.build(sql)
    CRAWLER.fill(sql, jobs=20)
    messy.colliding_profiles(sql)
    messy.duplicate_chunks(sql)
    messy.dangling_projects(sql)
    rows = look()
    assert db("adopt", "--apply", "--yes").code == 0
    assert db("adopt").err == (
        "This database was adopted already; nothing was written. Go on with `manage.py db upgrade`, "
        "or take it back with `manage.py db adopt --undo`.\n"
    )
    assert sql("SELECT count(*) FROM job_chunks WHERE status = 'processing'") == [(0,)]
    assert sql("SELECT password LIKE '!%', length(password) FROM auth_user LIMIT 1") == [(True, 41)]
    assert sql(
        "SELECT count(*) FROM profiles AS p JOIN auth_user AS u ON p.email = CASE u.email WHEN ''"
        " THEN 'user' || u.id || '@users.invalid' ELSE u.email END"
    ) == sql("SELECT count(*) FROM profiles")
    assert sql(
        "SELECT count(*) FROM crawl_jobs AS j WHERE active_chunks <> (SELECT count(*) FROM"
        " job_chunks WHERE job_id = j.id AND status = 'pending')"
    ) == [(0,)]

    recorder = MigrationRecorder(connections[ALIAS])
    recorder.record_applied("accounts", "0003_columns")
    refused = db("adopt", "--undo", "--yes")
    assert (refused.code, refused.err) == (
        1,
        "The database is not where adoption left it: accounts 0003_columns were applied since. "
        "Nothing was changed. Go back to where it stood first (`manage.py db downgrade`), or restore "
        "a backup.\n",
    )
    recorder.record_unapplied("accounts", "0003_columns")

    sql("UPDATE images SET filename = 'new' WHERE id = (SELECT min(id) FROM images)")
    refused = db("adopt", "--undo", "--yes")
    assert (refused.code, refused.err) == (
        1,
        "Rows of images were changed since the adoption, and undoing it would lose that. Nothing was "
        "changed. Say --lose-changes if it may be lost.\n",
    )
    assert db("adopt", "--undo", "--yes", "--lose-changes").code == 0
    assert look() == rows
    assert db("adopt", "--undo", "--yes").err == (
        "This database was not adopted, so there is nothing to undo.\n"
    )


def test_undoing_does_not_depend_on_what_became_of_our_tables(database, db, sql, look):
    GENERATOR.build(sql)
    GENERATOR.fill(sql, jobs=3)
    rows = look()
    assert db("adopt", "--apply", "--yes").code == 0
    sql("TRUNCATE provider_accounts CASCADE")
    sql("CREATE VIEW newer AS SELECT id FROM jobs")
    refused = db("adopt", "--undo", "--yes", "--lose-changes")
    assert (refused.code, refused.err) == (
        1,
        "Something that was made since depends on our tables: view newer depends on table jobs. "
        "Nothing was changed. Drop it first.\n",
    )
    sql("DROP VIEW newer")
    assert db("adopt", "--undo", "--yes", "--lose-changes").code == 0
    assert look() == rows


def test_a_view_that_cannot_be_made_over_our_tables_is_named(database, db, sql, look):
    GENERATOR.build(sql)
    GENERATOR.fill(sql, jobs=3)
    sql("CREATE VIEW counted AS SELECT json_array_length(params->'images') FROM jobs")
    rows = look()
    ran = db("adopt", "--apply", "--yes")
    assert ran.code == 1
    assert "Something of the site's own cannot be made over our tables" in ran.err
    assert 'CREATE VIEW "counted"' in ran.err
    assert look() == rows


def test_who_is_in_the_way_is_named_and_nothing_is_changed(database, db, sql, look):
    GENERATOR.build(sql)
    GENERATOR.fill(sql, jobs=20)
    rows = look()
    where = connections[ALIAS].get_connection_params()
    blocker = psycopg.connect(
        host=where.get("host"),
        port=where.get("port"),
        user=where.get("user"),
        password=where.get("password"),
        dbname=where["dbname"],
        application_name="old worker",
    )
    with blocker:
        blocker.execute("SELECT count(*) FROM jobs")
        ran = db("adopt", "--apply", "--yes", "--lock-timeout", "1", "--tries", "1")
    assert ran.code == 1
    assert "Waited 1 times 1 s for a lock on jobs, held by process" in ran.err
    assert "old worker" in ran.err
    assert look() == rows


def test_differences_that_need_a_decision_stop_it_before_the_question(database, db, sql, look):
    GENERATOR.build(sql)
    GENERATOR.fill(sql, jobs=20)
    sql("ALTER TABLE jobs ALTER provider_id TYPE text")
    sql("UPDATE jobs SET provider_id = repeat('x', 51) WHERE id IN (2, 3)")
    sql("ALTER TABLE assets DROP COLUMN remote_url, ALTER mime_type TYPE bytea USING NULL")
    sql("CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM jobs")
    sql("UPDATE jobs SET priority = -2147483648, started_at = '-infinity' WHERE id = 4")
    sql("ALTER TABLE users ALTER username TYPE text")
    sql("UPDATE users SET username = repeat('u', 151) WHERE id = 1")
    sql("ALTER TABLE provider_credits DROP CONSTRAINT provider_credits_pkey")
    sql("DROP INDEX idx_account_credit_type")
    sql("INSERT INTO provider_credits SELECT * FROM provider_credits WHERE id = 1")
    sql("CREATE VIEW waiting AS SELECT id FROM jobs WHERE status = 'PENDING'")
    sql("CREATE RULE kept AS ON DELETE TO jobs DO INSTEAD NOTHING")
    sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    sql(
        "CREATE TRIGGER seen BEFORE UPDATE ON jobs FOR EACH ROW WHEN (NEW.status = 'FAILED')"
        " EXECUTE FUNCTION f()"
    )
    sql("CREATE PUBLICATION copies FOR TABLE jobs, assets")
    sql("CREATE SCHEMA pixsim_adopted")
    sql("CREATE TABLE alembic_version_adopted ()")
    rows = look()
    ran = db("adopt", "--apply", "--json")
    assert ran.code == 1
    assert ran.json["applied"] is False
    enumeration = (
        "it speaks of an enumeration that is text with us; drop it, adopt, and make it again"
    )
    assert {
        (each["what"], each["text"], each["rows"])
        for each in ran.json["differences"]
        if each["kind"] == "needs a decision"
    } == {
        ("jobs.provider_id", "values that our column cannot hold; mend them first", 2),
        ("assets.remote_url", "it is missing, and there is no value to fill it with", 15),
        ("assets.mime_type", "nothing leads from bytea to character varying(64)", 15),
        ("summary", "it reads our tables; drop it, adopt, and make it again", None),
        ("jobs.priority", "values that our column cannot hold; mend them first", 1),
        ("jobs.started_at", "values that our column cannot hold; mend them first", 1),
        ("users.username", "values that our column cannot hold; mend them first", 1),
        (
            "provider_credits",
            "rows without an id of their own, for the primary key is missing; mend them first",
            1,
        ),
        ("view waiting", enumeration, None),
        ("trigger seen of jobs", enumeration, None),
        (
            "rule kept of jobs",
            "it is not carried over; drop it, adopt, and make it again on our table",
            None,
        ),
        (
            "publication copies",
            "its subscribers would get our tables instead; drop it, adopt, and make it again when "
            "they have them too",
            None,
        ),
        ("schema pixsim_adopted", "an earlier adoption left it; rename it, or drop it", None),
        (
            "alembic_version_adopted",
            "a name that is needed for what is not ours; give it another one",
            None,
        ),
    }
    assert (
        "14 differences need a decision: mend them, then look again. Nothing was changed."
        in ran.err
    )
    assert look() == rows


def test_tables_that_are_missing_are_made_and_nobody_is_asked_in_vain(database, db, sql, look):
    CRAWLER.build(sql)
    CRAWLER.fill(sql, jobs=20)
    sql("DROP TABLE crawl_jobs CASCADE")
    chunks = sql("SELECT count(*) FROM job_chunks")
    rows = look()
    ran = db("adopt", "--apply")
    assert (ran.code, ran.err) == (
        1,
        "Adopt this database? Nobody is here to answer: say --yes. Nothing was changed.\n",
    )
    assert "Maintenance window: 11 tables are locked against reading and writing" in ran.out
    assert look() == rows
    assert db("adopt", "--apply", "--yes").code == 0
    assert sql("SELECT count(*) FROM crawl_jobs") == [(0,)]
    assert sql("SELECT count(*) FROM adoption_quarantine_job_chunks") == chunks


def test_without_a_key_nothing_is_encrypted_and_nothing_changed(database, db, sql, settings, look):
    GENERATOR.build(sql)
    GENERATOR.fill(sql, jobs=20)
    rows = look()
    settings.CREDENTIALS_KEYS = []
    ran = db("adopt", "--apply", "--yes")
    assert (ran.code, ran.err.startswith("CREDENTIALS_KEYS is empty.")) == (1, True)
    assert look() == rows
