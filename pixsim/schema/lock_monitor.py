"""What a migration does to a database: the locks it takes, the tables it rewrites, their rows.

A second session reads the locks after every statement, as a transaction keeps its locks to the end, and
many times a second, for statements that take long or run without a transaction.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema.contents import count_rows, tables
from pixsim.schema.drift import BOOKKEEPING

EVERY_SECONDS = 0.01

# What the migration makes itself is not visible here before it is there for everybody: locks on
# it keep nobody waiting.
LOCKS = """
SELECT format('%%I.%%I', n.nspname, c.relname), lock.mode
FROM pg_locks AS lock JOIN pg_class AS c ON c.oid = lock.relation
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE lock.pid = %s AND lock.granted AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm')
"""
FILES = """
SELECT c.oid, format('%I.%I', n.nspname, c.relname), pg_relation_filenode(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_'
"""
MODES = {
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}
"""Those stronger than what reading and writing rows takes, from the weakest to the strongest."""
WRITES = {"RowExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}


@dataclass(frozen=True)
class Lock:
    """A lock that a migration held on a table that existed before."""

    table: str
    mode: str
    """As the documentation of PostgreSQL names it; only those that others may wait for."""
    seconds: float
    """How long, to about a hundredth of a second."""

    @property
    def blocks(self) -> str:
        """Return what the lock keeps waiting."""
        if self.mode == "ACCESS EXCLUSIVE":
            return "reads and writes"
        return "nobody" if self.mode == "SHARE UPDATE EXCLUSIVE" else "writes"


@dataclass(frozen=True)
class Effect:
    """What a migration did."""

    locks: tuple[Lock, ...]
    """The strongest on each table."""
    rewritten: tuple[str, ...]
    """Tables whose rows were all written anew."""
    rows: dict[str, tuple[int, int]]
    """Rows before and after, of the tables where they differ; a table that is made had none."""


@dataclass
class _Seen:
    """The locks seen of one migration so far."""

    since: dict[tuple[str, str], float] = field(default_factory=dict)
    """When each lock that is held now was first seen."""
    held: dict[tuple[str, str], float] = field(default_factory=dict)
    """The longest that each was held."""


class LockMonitor:
    """A monitor of the locks of one session. Use `monitored`."""

    def __init__(self, session: BaseDatabaseWrapper, own: BaseDatabaseWrapper) -> None:
        self._own = own
        self._mutex = threading.Lock()
        session.ensure_connection()
        self._pid = session.connection.info.backend_pid
        self._seen = _Seen()
        self._rows = count_rows(own, _theirs(own))
        self._files = self._read_files()

    def begin(self) -> None:
        """Start measuring a migration."""
        with self._mutex:
            self._seen = _Seen()

    def end(self, *, is_atomic: bool) -> Effect:
        """Return what the migration did since `begin`."""
        self.look()
        with self._mutex:
            self._end_locks(set(), time.monotonic())
            held = self._seen.held
            before_files, self._files = self._files, self._read_files()
            before_rows, self._rows = self._rows, self._count(is_atomic)
        return Effect(
            locks=_strongest(held),
            rewritten=tuple(
                sorted(
                    name
                    for oid, (name, file) in self._files.items()
                    if oid in before_files and before_files[oid][1] != file
                )
            ),
            rows=_changes(before_rows, self._rows),
        )

    def look(self) -> None:
        """Note the locks that are held now."""
        with self._mutex, closing(self._own.cursor()) as cursor:
            cursor.execute(LOCKS, [self._pid])
            now, locks = time.monotonic(), set(cursor.fetchall())
            for lock in locks:
                self._seen.since.setdefault(lock, now)
            self._end_locks(locks, now)

    def after_statement(
        self, execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Wrap the statements of the monitored session."""
        result = execute(sql, params, many, context)
        self.look()
        return result

    def _end_locks(self, locks: set[tuple[str, str]], now: float) -> None:
        for lock in self._seen.since.keys() - locks:
            seconds = now - self._seen.since.pop(lock)
            self._seen.held[lock] = max(seconds, self._seen.held.get(lock, 0.0))

    def _read_files(self) -> dict[int, tuple[str, int]]:
        with closing(self._own.cursor()) as cursor:
            cursor.execute(FILES)
            return {oid: (name, file) for oid, name, file in cursor.fetchall()}

    def _count(self, is_atomic: bool) -> dict[str, int]:
        """Return the numbers of rows now. In a transaction every lock is seen, so a table that was
        not locked is unchanged; without one, count all tables."""
        names = _theirs(self._own)
        written = {table for table, mode in self._seen.held if mode in WRITES}
        known = {
            name: rows
            for name, rows in self._rows.items()
            if name in names and is_atomic and name not in written
        }
        return known | count_rows(self._own, [name for name in names if name not in known])


@contextmanager
def monitored(session: BaseDatabaseWrapper) -> Iterator[LockMonitor]:
    """Monitor the locks of `session`, from a second session."""
    own = session.copy()
    own.inc_thread_sharing()  # two threads look, one at a time
    stop = threading.Event()
    try:
        watcher = LockMonitor(session, own)

        def look_often() -> None:
            with suppress(DatabaseError):  # the session that is watched meets the same, and says so
                while not stop.wait(EVERY_SECONDS):
                    watcher.look()

        thread = threading.Thread(target=look_often, daemon=True)
        thread.start()
        try:
            with session.execute_wrapper(watcher.after_statement):
                yield watcher
        finally:
            stop.set()
            thread.join()
    finally:
        own.close()


def _theirs(connection: BaseDatabaseWrapper) -> list[str]:
    return [name for name in tables(connection) if not _is_bookkeeping(name)]


def _is_bookkeeping(table: str) -> bool:
    return table.partition(".")[2] in BOOKKEEPING


def _strongest(held: dict[tuple[str, str], float]) -> tuple[Lock, ...]:
    order = list(MODES)
    best: dict[str, Lock] = {}
    for (table, mode), seconds in sorted(held.items(), key=lambda item: item[0]):
        if mode not in MODES or _is_bookkeeping(table):
            continue
        now = best.get(table)
        if now is None or order.index(mode) > list(MODES.values()).index(now.mode):
            best[table] = Lock(table, MODES[mode], seconds)
    return tuple(best.values())


def _changes(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    return {
        name: (before.get(name, 0), after.get(name, 0))
        for name in sorted(before.keys() | after.keys())
        if before.get(name, 0) != after.get(name, 0) or (name in before) != (name in after)
    }
