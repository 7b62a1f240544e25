"""Retries for locks: a timeout for each statement, a pause, another try, and which session blocks."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors

from pixsim.schema.errors import SchemaError

Result = TypeVar("Result")

BLOCKERS = """
SELECT blocker.pid, usename, application_name, coalesce(xact_start, backend_start), state, query
FROM unnest(pg_blocking_pids(%s)) AS blocker (pid) LEFT JOIN pg_stat_activity AS a USING (pid)
ORDER BY 4, 1
"""
WANTED = """
SELECT string_agg(DISTINCT relation::regclass::text, ', ')
FROM pg_locks WHERE pid = %s AND NOT granted
"""
INVALID_INDEXES = """
SELECT c.relname, i.indexrelid::regclass::text, pg_table_is_visible(c.oid)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE NOT i.indisvalid
"""
BUILDS_INDEX = re.compile(
    r'\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s(?P<name>(?:"(?:[^"]|"")*"|[^"])*?)\sON\s', re.IGNORECASE
)
"""What stands before ON names the index; what follows may have the same words for other things."""
IS_CONCURRENT = re.compile(r"\b(INDEX|PARTITION|TABLE|VIEW)\s+(\S+\s+)?CONCURRENTLY\b", re.I)
MAKES, REMOVES = re.compile(r"\b(CREATE|ADD)\b", re.I), re.compile(r"\b(DROP|RENAME)\b", re.I)
REMINDER_SECONDS = 10.0
"""A run that waits without a timeout prints so often what it waits for."""
IS_THERE = (errors.DuplicateTable, errors.DuplicateColumn, errors.DuplicateObject)
IS_GONE = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedObject)


class LockNotGiven(SchemaError):
    """Another session held a lock for longer than the run waits."""


@dataclass(frozen=True)
class LockPolicy:
    """How long and how often a run waits for locks."""

    lock_timeout: float
    """Seconds that a statement waits for a lock, and others behind it; 0 waits for ever."""
    tries: int
    first_pause: float = 0.5
    """Seconds before the second try, about twice as long before each further one."""
    longest_pause: float = 15.0

    @classmethod
    def from_settings(
        cls, *, lock_timeout: float | None = None, tries: int | None = None
    ) -> LockPolicy:
        """Return the policy of the settings, with the given values instead."""
        if lock_timeout is None:
            lock_timeout = getattr(settings, "SCHEMA_LOCK_TIMEOUT_SECONDS", 2.0)
        return cls(
            lock_timeout, getattr(settings, "SCHEMA_LOCK_TRIES", 8) if tries is None else tries
        )

    def pause_after(self, tries: int) -> float:
        """Return the seconds to wait after so many tries, with some randomness."""
        pause = min(self.longest_pause, self.first_pause * 2 ** (tries - 1))
        return float(pause * random.uniform(0.8, 1.2))  # noqa: S311  no secret


@dataclass(frozen=True)
class Blocker:
    """A session that holds a wanted lock."""

    pid: int
    """0 for a prepared transaction, which has no session."""
    user: str | None
    program: str | None
    since: datetime | None
    """When its transaction began."""
    state: str | None
    query: str | None
    """What it runs, or ran last."""

    def __str__(self) -> str:
        if not self.pid:
            return "a prepared transaction (see pg_prepared_xacts)"
        query = " ".join((self.query or "").split())
        if len(query) > 200:
            query = query[:200] + "…"
        since = f", since {self.since:%H:%M:%S}" if self.since else ""
        return (
            f"process {self.pid} (user {self.user or 'unknown'}, {self.program or 'no name'}, "
            f"{self.state or 'at work'}{since}): {query or 'query not shown'}"
        )


@dataclass(frozen=True)
class Wait:
    """A lock that is not available yet."""

    wanted: str
    """The tables, by commas; empty if nobody could look."""
    blockers: tuple[Blocker, ...]
    seconds: float
    """How long the statement has waited."""
    tries: int = 0
    """How many times it was given up; 0: it still waits."""
    pause: float = 0.0
    """Seconds until the next try."""

    def __str__(self) -> str:
        what = f"a lock on {self.wanted}" if self.wanted else "a lock"
        who = "; ".join(map(str, self.blockers)) or "nobody could be seen in the way"
        return f"{what}, held by {who}" if self.blockers else f"{what}; {who}"


class LockRetry:
    """Run statements of one connection with a lock timeout, and retry them.

    While it is open, each statement has the lock timeout; outside a transaction it is retried. A
    second connection looks up which session blocks a statement that takes long.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        policy: LockPolicy,
        on_wait: Callable[[Wait], None] = lambda wait: None,
    ) -> None:
        self.policy = policy
        self._connection = connection
        self._on_wait = on_wait
        self._blockers = _BlockerThread(connection, policy, on_wait)
        self._is_replaying = False

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(lock_timeout(self._connection, self.policy.lock_timeout))
            stack.enter_context(self._blockers.running())
            stack.enter_context(self._connection.execute_wrapper(self._execute))
            yield

    def attempt(self, work: Callable[[], Result]) -> Result:
        """Call `work`, again each time a lock is not available. It must undo itself then.

        Raise LockNotGiven after the last try, with the sessions that hold the lock.
        """
        if self._connection.in_atomic_block:  # what failed can only be undone by who began it
            return work()
        tries = 0
        while True:
            self._blockers.forget()
            try:
                return work()
            except OperationalError as error:
                if not is_lock_failure(error):
                    raise
                tries += 1
                wait = self._blockers.last(tries)
                if tries >= self.policy.tries:
                    raise LockNotGiven(_not_given(wait, self.policy)) from error
            pause = self.policy.pause_after(tries)
            self._on_wait(replace(wait, pause=pause))
            time.sleep(pause)

    @contextmanager
    def replaying(self, is_replay: bool) -> Iterator[None]:
        """Within the block, accept what a killed run has done already: objects that exist when a
        statement makes them, objects that are missing when it removes them."""
        before, self._is_replaying = self._is_replaying, is_replay
        try:
            yield
        finally:
            self._is_replaying = before

    def _execute(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        with self._blockers.statement():
            if self._connection.in_atomic_block:
                return execute(sql, params, many, context)
            text = sql if isinstance(sql, str) else ""
            with ExitStack() as stack:
                if IS_CONCURRENT.search(text):
                    # It waits in turns, blocking nobody, and a timeout would leave an invalid index.
                    stack.enter_context(lock_timeout(self._connection, 0))
                    self._drop_invalid(text)
                try:
                    done = self.attempt(lambda: execute(sql, params, many, context))
                    self._refuse_invalid(text)
                    return done
                except Error as error:
                    if not (self._is_replaying and _is_done(text, error)):
                        raise
        return None

    def _drop_invalid(self, text: str) -> None:
        """Drop the invalid index that an interrupted build left under the same name, since IF NOT
        EXISTS would accept it."""
        for index in self._invalid_indexes(text):
            with self._connection.cursor() as cursor:
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")

    def _refuse_invalid(self, text: str) -> None:
        if not IS_CONCURRENT.search(text):
            return
        for index in self._invalid_indexes(text):
            raise SchemaError(
                f"The index {index} is invalid: its build was interrupted. Run it again; the rest of "
                "the index is removed first."
            )

    def _invalid_indexes(self, text: str) -> list[str]:
        """Return the invalid indexes that a statement which makes an index names, quoted."""
        build = BUILDS_INDEX.match(text)
        if build is None:
            return []
        with self._connection.cursor() as cursor:
            cursor.execute(INVALID_INDEXES)
            return [row[1] for row in cursor.fetchall() if _names(build["name"], *row)]


def _names(text: str, name: str, full: str, is_visible: bool) -> bool:
    """Return whether SQL names an index; `full` is its name with schema and quotes where needed."""
    if not is_visible or full != name:
        return full in text
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None


def is_lock_failure(error: Error) -> bool:
    """Return whether a lock was not available, so that a retry may succeed."""
    return isinstance(error.__cause__, errors.LockNotAvailable | errors.DeadlockDetected)


@contextmanager
def lock_timeout(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """Set the session's lock timeout for the block; 0 is no timeout."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        before = cursor.fetchone()[0]
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{seconds * 1000:.0f}"])
    try:
        yield
    finally:
        # The setting goes with the session, should that be lost.
        if connection.connection is not None and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [before])


class _BlockerThread:
    """A thread that looks up who blocks the connection's statement. Connects only when one takes
    long."""

    def __init__(
        self, connection: BaseDatabaseWrapper, policy: LockPolicy, on_wait: Callable[[Wait], None]
    ) -> None:
        self._connection = connection
        self._on_wait = on_wait
        # Several looks before a lock timeout, none at all for what takes no time.
        self._interval = min(0.2, (policy.lock_timeout or 1.0) / 4)
        self._since: float | None = None
        self._pid = 0
        self._last = Wait("", (), 0.0)
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        self._ended.clear()
        thread = threading.Thread(target=self._watch, name="who-blocks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(5)

    @contextmanager
    def statement(self) -> Iterator[None]:
        before = self._since
        self._pid = self._connection.connection.info.backend_pid
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = before

    def forget(self) -> None:
        """Forget what was seen."""
        self._last = Wait("", (), 0.0)

    def last(self, tries: int) -> Wait:
        """Return what was seen of the statement that failed last."""
        return replace(self._last, tries=tries)

    def _watch(self) -> None:
        session: BaseDatabaseWrapper | None = None
        reminded = time.monotonic()
        while not self._ended.wait(self._interval):
            since = self._since
            if since is None or time.monotonic() - since < self._interval:
                continue
            with suppress(Error):  # whoever cannot look says so by showing nobody
                session = session or self._connection.copy()
                wait = self._look(session, time.monotonic() - since)
                if not wait.blockers:
                    continue
                self._last = wait
                if min(wait.seconds, time.monotonic() - reminded) > REMINDER_SECONDS:
                    reminded = time.monotonic()
                    self._on_wait(wait)
        if session:
            session.close()

    def _look(self, session: BaseDatabaseWrapper, seconds: float) -> Wait:
        with session.cursor() as cursor:
            cursor.execute(WANTED, [self._pid])
            wanted = cursor.fetchone()[0] or ""
            cursor.execute(BLOCKERS, [self._pid])
            return Wait(wanted, tuple(Blocker(*row) for row in cursor.fetchall()), seconds)


def _is_done(text: str, error: Error) -> bool:
    """Return whether a statement fails because an earlier run has done it."""
    cause = error.__cause__
    return bool(
        (isinstance(cause, IS_THERE) and MAKES.search(text))
        # The index belongs to the constraint already.
        or (isinstance(cause, errors.ObjectNotInPrerequisiteState) and "USING INDEX" in text)
        or (isinstance(cause, IS_GONE) and REMOVES.search(text))
    )


def _not_given(wait: Wait, policy: LockPolicy) -> str:
    end = "".join(
        f" To end it: SELECT pg_terminate_backend({blocker.pid})."
        for blocker in wait.blockers[:1]
        if blocker.pid
    )
    return (
        f"Waited {wait.tries} times {policy.lock_timeout:g} s for {wait}.{end} "
        f"Run it again when the database is quieter, or let it try longer (--tries)."
    )
