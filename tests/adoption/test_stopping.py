"""What does not end, or is taken back, leaves the older database as it was."""

import signal

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from pixsim.schema.locking import KEY
from tests.adoption.dumping import dump
from tests.schema.commands import start as start
from tests.schema.commands import wait_until
from tests.scratch import ALIAS

# An adoption that makes this table waits for whoever holds the lock; it can be killed there.
STOP_AT = """
CREATE FUNCTION site_stop() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
               WHERE object_identity = '{schema}.{table}') THEN
        PERFORM pg_advisory_xact_lock(4711);
    END IF;
END $$
"""
WAITS = """
SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                WHERE a.datname = current_database() AND l.locktype = 'advisory'
                  AND l.objid = 4711 AND NOT l.granted)
"""
ALONE = """
SELECT count(*) = 1 FROM pg_stat_activity
 WHERE datname = current_database() AND backend_type = 'client backend'
"""


@pytest.fixture
def other(database):
    """Runs a statement in a session of somebody else's."""
    session = connections[ALIAS].copy(alias="other")
    yield lambda statement: session.cursor().execute(statement)
    session.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("pixsim7-2330addema-models", "adoption_record"),  # at the very end
        ("pixcrawler-002", "adoption_changes"),  # when the older tables have just moved aside
    ],
)
def test_killed_in_the_middle_it_leaves_the_older_database_as_it_was(
    name, table, older, sql, start, db
):
    state = older(name)
    sql(STOP_AT.format(schema="public", table=table))
    sql("CREATE EVENT TRIGGER site_stop ON ddl_command_end EXECUTE FUNCTION site_stop()")
    sql("SELECT pg_advisory_lock(4711)")
    before = dump()
    process = start("adopt", "--apply", "--yes")
    wait_until(lambda: process.poll() is not None or sql(WAITS)[0][0], seconds=60)
    assert process.poll() is None, process.communicate()

    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    sql("SELECT pg_advisory_unlock(4711)")
    wait_until(lambda: sql(ALONE)[0][0])

    assert dump() == before
    assert all(sql(f"SELECT EXISTS (SELECT FROM {each})") == [(True,)] for each in state.tables)
    ran = db("adopt", "--apply", "--yes")
    assert ran.code == 0, ran.out + ran.err


@pytest.mark.long
@pytest.mark.parametrize("name", ["pixcrawler-before-001", "pixsim7-1105simplifylineage-migrated"])
def test_taken_back_it_is_as_it_was(name, older, sql, db):
    older(name)
    before = dump()
    assert db("adopt", "--apply", "--yes").code == 0
    assert dump() != before

    ran = db("adopt", "--undo", "--yes", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["undone"] is True
    assert dump() == before


def test_it_is_not_taken_back_once_something_newer_was_applied(older, sql, db):
    older("pixsim7-daa977a0bfa9-models", jobs=3)
    assert db("adopt", "--apply", "--yes").code == 0
    call_command("migrate", "accounts", database=ALIAS, verbosity=0)
    before = dump()

    ran = db("adopt", "--undo", "--yes")

    assert ran.code == 1
    assert "were applied since. Nothing was changed." in ran.err
    assert dump() == before


def test_migrate_and_upgrade_leave_an_older_database_alone_and_name_adopt(older, sql, db):
    older("pixcrawler-001", jobs=3)
    before = dump()

    with pytest.raises(CommandError, match=r"Alembic made this database .*`manage.py db adopt`"):
        call_command("migrate", database=ALIAS, verbosity=0)
    ran = db("upgrade")

    assert ran.code == 1
    assert "`manage.py db adopt`" in ran.err
    assert dump() == before


def test_somebody_who_still_uses_the_database_is_named_and_nothing_happens(older, db, other):
    older("pixcrawler-002", jobs=3)
    before = dump()
    other("SET application_name = 'old worker'; BEGIN; SELECT * FROM job_chunks")

    ran = db("adopt", "--apply", "--yes", "--lock-timeout", "1", "--tries", "1")

    assert ran.code == 1
    assert "old worker" in ran.out + ran.err
    assert dump() == before


def test_only_one_adopts(older, db, other):
    older("pixcrawler-before-001", jobs=3)
    before = dump()
    other("SET application_name = 'the first'")
    other(f"SELECT pg_advisory_lock({KEY})")

    ran = db("adopt", "--apply", "--yes")

    assert ran.code == 1
    assert "the first" in ran.err
    assert "is changing this database" in ran.err
    assert dump() == before
