"""A plan applied to a copy of the database, and what it did there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from pixsim.schema.connecting import only_database, session_named
from pixsim.schema.copying import Copy, copied
from pixsim.schema.errors import SchemaError
from pixsim.schema.lock_monitor import Effect, LockMonitor, monitored
from pixsim.schema.lock_retry import Wait
from pixsim.schema.running import Done, Listener, run
from pixsim.schema.targets import Step

SESSION = "rehearsal"
"""The application_name of the session that holds the lock."""


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


class RehearsalListener(Listener):
    """Callbacks of a rehearsal; each does nothing unless it is overridden."""

    def copied(self, copy: Copy) -> None: ...
    def measured(self, measured: Measured) -> None: ...


def rehearse(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    steps: Sequence[Step],
    *,
    keep: bool = False,
    drop_dependents: bool = False,
    listener: RehearsalListener,
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> Rehearsed:
    """Copy the database, apply the steps there and measure each. The caller holds the lock.

    The database itself is only read. With `keep` the copy stays, under the name in `Copy.kept_as`.
    `report` gets the number of copied rows. Raise NoCopy if the database cannot be copied.
    """
    failure = ""
    with (
        session_named(connection, SESSION),
        copied(connection, keep=keep, report=report) as copy,
    ):
        listener.copied(copy)
        with only_database(copy.connection.alias), monitored(copy.connection) as monitor:
            measuring = _Measuring(monitor, loader, listener)
            try:
                run(
                    copy.connection,
                    steps,
                    listener=measuring,
                    drop_dependents=drop_dependents,
                )
            except SchemaError as error:
                failure = str(error)
    return Rehearsed(copy, tuple(measuring.measured), failure)


class _Measuring(Listener):
    """Measure each migration between its callbacks."""

    def __init__(
        self, monitor: LockMonitor, loader: MigrationLoader, listener: RehearsalListener
    ) -> None:
        self.measured: list[Measured] = []
        self._monitor = monitor
        self._loader = loader
        self._listener = listener

    def begins(self, step: Step) -> None:
        self._listener.begins(step)
        self._monitor.begin()

    def waits(self, wait: Wait) -> None:
        self._listener.waits(wait)

    def ended(self, done: Done) -> None:
        is_atomic = self._loader.graph.nodes[done.step.key].atomic
        self.measured.append(Measured(done, self._monitor.end(is_atomic=is_atomic)))
        self._listener.ended(done)
        self._listener.measured(self.measured[-1])
