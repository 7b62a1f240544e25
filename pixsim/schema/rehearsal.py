"""A plan applied to a copy of the database, and what it did there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from pixsim.schema.copying import Copy, copied, nothing_but
from pixsim.schema.errors import SchemaError
from pixsim.schema.lock_monitor import Effect, Watcher, watching
from pixsim.schema.lock_retry import Wait
from pixsim.schema.running import Done, Listener, run
from pixsim.schema.targets import Step

SESSION = "rehearsal"
"""What the session that holds the lock is called meanwhile."""


@dataclass(frozen=True)
class Measured:
    """A migration that was applied to the copy."""

    done: Done
    effect: Effect


@dataclass(frozen=True)
class Rehearsed:
    """The results of a rehearsal."""

    copy: Copy
    measured: tuple[Measured, ...]
    failure: str
    """Why it ended early; empty if every step was done."""


class Audience(Listener):
    """Callbacks of a rehearsal; each does nothing unless it is overridden."""

    def copied(self, copy: Copy) -> None: ...
    def measured(self, measured: Measured) -> None: ...


def rehearse(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    steps: Sequence[Step],
    *,
    keep: bool = False,
    audience: Audience,
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> Rehearsed:
    """Copy the database, apply the steps there and measure each. The caller holds the lock.

    The database itself is only read. With `keep` the copy stays, under the name in `Copy.kept_as`.
    `report` gets the number of copied rows. Raise NoCopy if the database cannot be copied.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [SESSION])
    failure = ""
    try:
        with copied(connection, keep=keep, report=report) as copy:
            audience.copied(copy)
            with nothing_but(copy.connection.alias), watching(copy.connection) as watcher:
                notes = _Notes(watcher, loader, audience)
                try:
                    run(copy.connection, steps, listener=notes)
                except SchemaError as error:
                    failure = str(error)
        return Rehearsed(copy, tuple(notes.measured), failure)
    finally:
        if connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("RESET application_name")


class _Notes(Listener):
    """Measure each migration between its callbacks."""

    def __init__(self, watcher: Watcher, loader: MigrationLoader, audience: Audience) -> None:
        self.measured: list[Measured] = []
        self._watcher = watcher
        self._loader = loader
        self._audience = audience

    def begins(self, step: Step) -> None:
        self._audience.begins(step)
        self._watcher.begin()

    def waits(self, wait: Wait) -> None:
        self._audience.waits(wait)

    def ended(self, done: Done) -> None:
        is_atomic = self._loader.graph.nodes[done.step.key].atomic
        self.measured.append(Measured(done, self._watcher.end(is_atomic=is_atomic)))
        self._audience.ended(done)
        self._audience.measured(self.measured[-1])
