"""Registered backfills: their progress, and running them so that they can be paused, killed and resumed.

An app declares its backfills as objects in its module `backfills`. The progress is kept in the table
`pixsim_backfills`, written in the transaction of each range of rows, so it is correct whenever the run
was killed. A runner holds the lock of `locking`, so only one runs at a time.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib import import_module

from django.apps import apps
from django.db import ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils.module_loading import module_has_submodule
from psycopg.errors import UndefinedColumn, UndefinedTable

from pixsim.core.db.backfill import Backfill, BackfillRefused, Progress
from pixsim.schema.connecting import session_named
from pixsim.schema.errors import SchemaError, UsageError
from pixsim.schema.locking import KEY

TABLE = "pixsim_backfills"

CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    name text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('running', 'paused', 'done')),
    last_key bigint,
    done bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    total bigint,
    rows_per_second double precision,
    pid integer,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

READ = f"""
SELECT name, state, done, changed, total, rows_per_second, updated_at, EXISTS (
    SELECT FROM pg_locks AS lock
    WHERE lock.pid = backfill.pid AND lock.pid <> pg_backend_pid()
      AND lock.locktype = 'advisory' AND lock.granted
      AND (lock.classid::bigint << 32 | lock.objid::bigint) = {KEY}
) FROM {TABLE} AS backfill
"""

BEGIN = f"""
INSERT INTO {TABLE} AS backfill (name, state, pid) VALUES (%s, 'running', pg_backend_pid())
ON CONFLICT (name) DO UPDATE
SET state = 'running', pid = pg_backend_pid(), updated_at = clock_timestamp()
RETURNING last_key, done, changed
"""

# One statement both says how far the run is and reads whether somebody wants it to stop.
STEP = f"""
UPDATE {TABLE} SET last_key = %s, done = %s, changed = %s, total = %s, rows_per_second = %s,
    updated_at = clock_timestamp()
WHERE name = %s RETURNING state = 'paused'
"""

END = f"""
UPDATE {TABLE} SET state = 'done', last_key = NULL, total = done, updated_at = clock_timestamp()
WHERE name = %s
"""

PAUSE = f"""
INSERT INTO {TABLE} (name, state) VALUES (%s, 'paused')
ON CONFLICT (name) DO UPDATE SET state = 'paused', updated_at = clock_timestamp()
"""


class State(StrEnum):
    """The state of a backfill."""

    NOT_YET = "not yet"
    """Its tables or columns are not there: migrations are pending."""
    TO_DO = "to do"
    RUNNING = "running"
    PAUSING = "pausing"
    """The runner ends after the range it is in."""
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    """The runner ended without saying so: killed, or its connection was lost."""
    DONE = "done"


class Paused(SchemaError):
    """The backfill was paused; the rows that were filled stay."""


@dataclass(frozen=True)
class Status:
    """The progress of a backfill."""

    backfill: Backfill
    state: State
    pending: int | None
    """Rows that its condition names now; None if that cannot be asked yet."""
    done: int = 0
    """Rows looked at since it began, of `total`."""
    changed: int = 0
    total: int | None = None
    rows_per_second: float | None = None
    updated_at: datetime | None = None

    @property
    def seconds_left(self) -> float | None:
        if self.state is not State.RUNNING or not self.rows_per_second or self.total is None:
            return None
        return max(0, self.total - self.done) / self.rows_per_second


@dataclass(frozen=True)
class _Row:
    """A row of the table."""

    state: str
    done: int
    changed: int
    total: int | None
    rows_per_second: float | None
    updated_at: datetime
    has_runner: bool


def registered() -> dict[str, Backfill]:
    """Return the backfills of all installed apps by name, also those that undo another one.

    Raise SchemaError if a module cannot be imported, or if two backfills have one name.
    """
    found: dict[str, Backfill] = {}
    for config in apps.get_app_configs():
        if not module_has_submodule(config.module, "backfills"):
            continue
        name = f"{config.name}.backfills"
        try:
            module = import_module(name)
        except Exception as error:  # a module may raise anything when it is imported
            raise SchemaError(f"{name} cannot be read: {type(error).__name__}: {error}.") from error
        for backfill in vars(module).values():
            if not isinstance(backfill, Backfill):
                continue
            if found.setdefault(backfill.name, backfill) is not backfill:
                raise SchemaError(f"Two backfills are called {backfill.name}; {name} has one.")
    return found


def named(name: str) -> Backfill:
    """Return the backfill of this name. Raise UsageError, with the known names, if there is none."""
    known = registered()
    if name not in known:
        there_is = f"there is: {', '.join(known)}" if known else "no app declares one"
        raise UsageError(f"There is no backfill {name!r}; {there_is}.")
    return known[name]


def statuses(connection: BaseDatabaseWrapper, backfills: Iterable[Backfill]) -> list[Status]:
    """Return the progress of each backfill. Read only; count the pending rows."""
    rows = _rows(connection)
    return [_status(connection, backfill, rows.get(backfill.name)) for backfill in backfills]


def status(connection: BaseDatabaseWrapper, backfill: Backfill) -> Status:
    return statuses(connection, [backfill])[0]


def run(
    connection: BaseDatabaseWrapper,
    backfill: Backfill,
    *,
    resume: bool = False,
    restart: bool = False,
    share: float = 1.0,
    goal_seconds: float = 0.2,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Status:
    """Run a backfill to its end, from where an earlier run stopped; the caller holds the lock.

    `resume` also continues a paused backfill; `restart` begins again at the first row. Each range
    of rows takes about `goal_seconds`, and `share` (above 0, up to 1) is the part of the time to
    work in. `on_progress` gets the number of rows that are done, and of all.

    Raise Paused if the backfill is paused meanwhile, SchemaError if it cannot run; committed rows
    stay.
    """
    before = status(connection, backfill)
    _refuse(before, resume=resume, restart=restart)
    try:
        with session_named(connection, f"backfill {backfill.name}"):
            _run(connection, backfill, before, restart, share, goal_seconds, on_progress)
    except BackfillRefused as refusal:
        raise SchemaError(str(refusal)) from refusal
    return status(connection, backfill)


def pause(connection: BaseDatabaseWrapper, backfill: Backfill) -> Status:
    """Make the runner end after its range, and refuse every run but `run(resume=True)`.

    Raise SchemaError if there is nothing to pause.
    """
    now = status(connection, backfill)
    if now.state in (State.DONE, State.NOT_YET):
        raise SchemaError(f"{backfill.name} is not paused: it is {_in_words(now)}.")
    with connection.cursor() as cursor:
        cursor.execute(CREATE)
        cursor.execute(PAUSE, [backfill.name])
    return status(connection, backfill)


def _refuse(before: Status, *, resume: bool, restart: bool) -> None:
    """Raise SchemaError if the backfill may not run now."""
    name = before.backfill.name
    if before.state is State.NOT_YET:
        raise SchemaError(
            f"{name} cannot run yet: its tables or columns are not there. Nothing was changed. "
            f"Apply what is pending with `manage.py db upgrade`."
        )
    if before.state is State.PAUSED and not (resume or restart):
        raise SchemaError(
            f"{name} was paused at {before.updated_at:%Y-%m-%d %H:%M:%S %Z}. Go on with "
            f"`manage.py db backfill resume {name}`."
        )
    if resume and before.state not in (State.PAUSED, State.INTERRUPTED):
        raise SchemaError(
            f"There is nothing to resume: {name} is {_in_words(before)}. Begin with "
            f"`manage.py db backfill run {name}`."
        )


def _run(
    connection: BaseDatabaseWrapper,
    backfill: Backfill,
    before: Status,
    restart: bool,
    share: float,
    goal_seconds: float,
    on_progress: Callable[[int, int], None],
) -> None:
    """Run all ranges, each with the row of the table that records the progress."""
    afresh = restart or before.state in (State.DONE, State.TO_DO)
    with connection.cursor() as cursor:
        cursor.execute(CREATE)
        _forget(cursor, backfill, also_itself=afresh)
        cursor.execute(BEGIN, [backfill.name])
        after, done, changed = cursor.fetchone()
    is_paused = False
    resumed_at = time.monotonic()

    def write(cursor: CursorWrapper, progress: Progress) -> None:
        nonlocal is_paused
        cursor.execute(
            STEP,
            [
                progress.high,
                done + progress.done,
                changed + progress.changed,
                done + progress.total,
                progress.rows_per_second,
                backfill.name,
            ],
        )
        is_paused = cursor.fetchone()[0]

    def after_batch(progress: Progress) -> None:
        nonlocal resumed_at
        on_progress(done + progress.done, done + progress.total)
        if is_paused:
            raise Paused(
                f"{backfill.name} was paused at {done + progress.done:,} of "
                f"{done + progress.total:,} rows. What was filled stays; go on with "
                f"`manage.py db backfill resume {backfill.name}`."
            )
        if not progress.is_finished:
            time.sleep((time.monotonic() - resumed_at) * (1 / share - 1))
        resumed_at = time.monotonic()

    backfill.run(
        connection,
        after=after,
        goal_seconds=goal_seconds,
        before_commit=write,
        on_batch=after_batch,
    )
    with connection.cursor() as cursor:
        cursor.execute(END, [backfill.name])


def _forget(cursor: CursorWrapper, backfill: Backfill, *, also_itself: bool) -> None:
    """Delete the rows of the backfill that this one undoes and of the one that undoes it: their
    progress is no longer true."""
    names = [backfill.undo.name] if backfill.undo else []
    names += [other.name for other in registered().values() if other.undo == backfill]
    names += [backfill.name] if also_itself else []
    cursor.execute(f"DELETE FROM {TABLE} WHERE name = ANY(%s)", [names])


def _status(connection: BaseDatabaseWrapper, backfill: Backfill, row: _Row | None) -> Status:
    pending = _pending(connection, backfill)
    if pending is None:
        return Status(backfill, State.NOT_YET, None)
    if row is None:
        # What a migration ran leaves no row here: that nothing is pending says it is done.
        return Status(backfill, State.TO_DO if pending else State.DONE, pending)
    return Status(
        backfill,
        _state(row, pending),
        pending,
        done=row.done,
        changed=row.changed,
        total=row.total,
        rows_per_second=row.rows_per_second,
        updated_at=row.updated_at,
    )


def _state(row: _Row, pending: int) -> State:
    if row.state == "running":
        return State.RUNNING if row.has_runner else State.INTERRUPTED
    if row.state == "paused":
        return State.PAUSING if row.has_runner else State.PAUSED
    # Rows that the change had nothing to say about stay pending for ever; more than those are new.
    return State.DONE if pending <= row.done - row.changed else State.TO_DO


def _pending(connection: BaseDatabaseWrapper, backfill: Backfill) -> int | None:
    """Return how many rows are pending; None if tables or columns of the backfill are missing."""
    with connection.cursor() as cursor:
        try:
            if isinstance(backfill.change, str):
                cursor.execute("EXPLAIN " + backfill.change, [0, -1])
            table = connection.ops.quote_name(backfill.table)
            cursor.execute(f"SELECT count(*) FROM {table} WHERE {backfill.pending}")
        except ProgrammingError as error:
            if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
                raise
            return None
        return int(cursor.fetchone()[0])


def _rows(connection: BaseDatabaseWrapper) -> dict[str, _Row]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [TABLE])
        if not cursor.fetchone()[0]:
            return {}
        cursor.execute(READ)
        return {name: _Row(*values) for name, *values in cursor.fetchall()}


def _in_words(now: Status) -> str:
    if now.state is State.NOT_YET:
        return "not possible yet"
    return str(now.state)
