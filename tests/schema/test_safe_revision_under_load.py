"""What `db revision` writes is applied to a million rows while others insert and update: nobody waits
for a lock longer than a second."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from django.db import connections

from tests.schema.changes import CHANGES, MODELS
from tests.scratch import ALIAS

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROWS = 1_000_000
WRITERS = 4
LONGEST = "1s"
FILL = f"""
CREATE SEQUENCE n START {ROWS + 1};
INSERT INTO toys_toy (name, code, price)
SELECT 'toy ' || n, 'c' || n, nullif(n % 3, 0) FROM generate_series(1, {ROWS}) AS n;
"""
WAITING = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)
FROM pg_locks WHERE NOT granted AND pid = ANY(%s)
"""


@dataclass
class Load:
    """Writers with short transactions, each waiting at most a second for a lock: the server ends a
    statement that waits longer, which is an error here."""

    statements: tuple[str, str]
    """What inserts a row, and what changes the row with an id."""
    written: int = 0
    longest_wait: float = 0.0
    """Seconds that a writer waited for a lock, seen every few milliseconds."""
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        sessions = [connect() for _ in range(WRITERS)]
        pids = [each.info.backend_pid for each in sessions]
        threads = [threading.Thread(target=self._write, args=[each]) for each in sessions]
        threads.append(threading.Thread(target=self._watch, args=[connect(), pids]))
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _write(self, session: "psycopg.Connection[tuple[object, ...]]") -> None:
        chance = random.Random(session.info.backend_pid)
        insert, update = self.statements
        with session:
            session.execute(f"SET lock_timeout = '{LONGEST}'")
            while not self._stop.is_set():
                try:
                    session.execute(insert)
                    session.execute(update, [chance.randint(1, ROWS)])
                except psycopg.Error as error:
                    self.errors.append(str(error))
                    return
                with self._mutex:
                    self.written += 2
                time.sleep(0.002)

    def _watch(self, session: "psycopg.Connection[tuple[float]]", pids: list[int]) -> None:
        with session:
            while not self._stop.wait(0.005):
                ((seconds,),) = session.execute(WAITING, [pids]).fetchall()
                self.longest_wait = max(self.longest_wait, float(seconds))


def connect() -> "psycopg.Connection[tuple[object, ...]]":
    where = connections[ALIAS].settings_dict
    return psycopg.connect(
        dbname=where["NAME"],
        user=where["USER"],
        password=where["PASSWORD"],
        host=where["HOST"],
        port=where["PORT"] or None,
        autocommit=True,
    )


def fine(ran):
    assert ran.code == 0, ran.out + ran.err
    return ran


@pytest.mark.parametrize("name", CHANGES)
def test_nobody_waits_longer_than_a_second(packages, database, db, sql, name):
    it = CHANGES[name]
    packages.add("toys", {}, models=MODELS)
    fine(db("revision", "-m", "toys", "toys"))
    fine(db("upgrade"))
    sql(FILL)
    sql("VACUUM ANALYZE toys_toy")
    packages.models("toys", it.after)
    fine(db("revision", "-m", "change", "--yes"))

    steps = [(it.old_code, it.files[-1 - it.waits][:4])]
    if it.waits:
        steps.append((it.new_code, it.files[-1][:4]))
    for statements, target in steps:
        with Load(statements).running() as load:
            wait_for_writers(load)
            before, started = load.written, time.monotonic()
            fine(db("upgrade", "toys", target))
            seconds = time.monotonic() - started
            while_it_ran = load.written - before
            wait_for_writers(load)
        print(
            f"{name}, {target}: {seconds:.1f} s, {while_it_ran:,} statements meanwhile, "
            f"the longest wait for a lock {load.longest_wait * 1000:.0f} ms"
        )
        assert load.errors == []
        assert load.longest_wait < 1
    assert "Clean: " in fine(db("verify")).out


def wait_for_writers(load: Load) -> None:
    """Return when the writers have written a little more, or have ended with an error."""
    goal = load.written + 50
    deadline = time.monotonic() + 30
    while load.written < goal and not load.errors:
        assert time.monotonic() < deadline
        time.sleep(0.01)
