"""A seeded scheduler: the queue's real statements, of several actors, in one random order.

Each actor is a thread with its own database connection. Before each statement and each commit it
stops until the scheduler lets it take this one step, so that a seed gives one order of steps, and
gives it again. An actor that waits for a lock is left alone until it has it. A kill ends an actor's
connection in the middle of a transaction.

The queue's own transactions never deadlock. Plain SQL locks rows in the order of its plan, so it can
deadlock with any of them; PostgreSQL then rolls one of the two back, which is a kill that the actor
survives. Such an actor is made with `may_deadlock`.
"""

import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import OperationalError, connection, connections, transaction
from psycopg.errors import DeadlockDetected

from jobs.queue import api

STEP_SECONDS = 20
Operation = Callable[[], object]


class Killed(BaseException):
    """The actor's process dies here."""


class Actor:
    """A thread that does operations, one step at a time."""

    def __init__(
        self, name: str, operations: list[Operation], *, may_deadlock: bool = False
    ) -> None:
        self.name = name
        self.may_deadlock = may_deadlock
        self.backend = 0
        self.at = "begin"
        self.is_over = False
        self.error: Exception | None = None
        self._operations = operations
        self._may_go = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self._is_killed = False
        self._partners: set[int] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def begin(self, *, partners: set[int]) -> None:
        """Start the thread and wait for its first stop.

        A deadlock with one of the backends in `partners` is no error.
        """
        self._partners = partners
        self._thread.start()
        self.stopped.acquire()

    def go(self, *, kill: bool) -> None:
        """Let the actor take its next step, or die at it."""
        self._is_killed = kill
        self._may_go.release()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join(STEP_SECONDS)

    def stop_before(self, step: str) -> None:
        """Called in the actor's thread: wait for the turn."""
        self.at = step
        self.stopped.release()
        self._may_go.acquire()
        if self._is_killed:
            connection.connection.close()
            raise Killed

    def _run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self.backend = cursor.fetchone()[0]
            with _stopping(self):
                for operation in self._operations:
                    self.stop_before("begins")
                    try:
                        operation()
                    except OperationalError as error:
                        if not self._may_be_lost_to(error):
                            raise
        except Killed:
            pass
        except Exception as error:
            # What Django says of a connection that is gone is no news of a killed actor.
            self.error = None if self._is_killed else error
        finally:
            if connection.connection is not None:
                connection.connection.close()
            connections.close_all()
            self.is_over = True
            self.stopped.release()

    def _may_be_lost_to(self, error: OperationalError) -> bool:
        cause = error.__cause__
        if not isinstance(cause, DeadlockDetected):
            return False
        backends = {
            int(number)
            for number in re.findall(r"[Pp]rocess (\d+)", str(cause.diag.message_detail))
        }
        return bool(backends & self._partners)


class Scheduler:
    """Lets actors take steps in the order of a seed, and calls `check` after each."""

    def __init__(
        self, seed: int, actors: list[Actor], monitor: psycopg.Connection[Any], *, kills: int
    ) -> None:
        self._dice = random.Random(seed)
        self._actors = actors
        self._monitor = monitor
        self._kills = kills
        self._waiting: list[Actor] = []
        self.steps: list[str] = []
        """What was done, in order: what a failure shows."""

    def run(self, check: Callable[[], None]) -> None:
        """Take steps until all actors are over; raise what went wrong in one of them."""
        partners: set[int] = set()
        for actor in self._actors:
            actor.begin(partners=partners)
            if actor.may_deadlock:
                partners.add(actor.backend)
        try:
            while True:
                for actor in list(self._waiting):
                    self._let_it_go_on(actor)
                ready = [a for a in self._actors if not a.is_over and a not in self._waiting]
                if not ready and not self._waiting:
                    break
                if not ready:
                    self._let_it_go_on(self._waiting[0], until_it_stops=True)
                    continue
                actor = self._dice.choice(ready)
                is_killed = self._kills > 0 and self._dice.random() < 0.02
                self._kills -= is_killed
                self.steps.append(f"{actor.name} {actor.at}{' KILLED' if is_killed else ''}")
                actor.go(kill=is_killed)
                self._let_it_go_on(actor)
                check()
        finally:
            self._end_all()
        for actor in self._actors:
            if actor.error is not None:
                raise AssertionError(f"{actor.name}: {actor.error!r}") from actor.error

    def _let_it_go_on(self, actor: Actor, *, until_it_stops: bool = False) -> None:
        """Wait until the actor stops again or waits for a lock."""
        deadline = time.monotonic() + STEP_SECONDS
        pause = 0.002
        while not actor.stopped.acquire(timeout=pause):
            pause = 0.01
            if not until_it_stops and self._waits_for_a_lock(actor):
                if actor not in self._waiting:
                    self._waiting.append(actor)
                return
            assert time.monotonic() < deadline, f"{actor.name} hangs at {actor.at}"
        if actor in self._waiting:
            self._waiting.remove(actor)

    def _waits_for_a_lock(self, actor: Actor) -> bool:
        return bool(
            self._monitor.execute(
                "SELECT cardinality(pg_blocking_pids(%s)) > 0", [actor.backend]
            ).fetchone()[0]
        )

    def _end_all(self) -> None:
        for actor in self._actors:
            deadline = time.monotonic() + STEP_SECONDS
            while not actor.is_over and time.monotonic() < deadline:
                actor.go(kill=True)
                actor.stopped.acquire(timeout=1)
            actor.join()


@contextmanager
def _stopping(actor: Actor) -> Any:
    """Stop before each statement and each commit of this thread's connection."""

    def before_statement(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        actor.stop_before(_first_words(sql))
        return execute(sql, params, many, context)

    commit = connection._commit

    def before_commit() -> Any:
        actor.stop_before("COMMIT")
        return commit()

    _current.actor = actor
    connection._commit = before_commit
    try:
        with connection.execute_wrapper(before_statement):
            yield
    finally:
        _current.actor = None
        connection._commit = commit


_current = threading.local()
_fetch = api.fetch


def fetch(statement: str, params: Any, **options: Any) -> Any:
    """`pixsim.core.db.sql.fetch`, with a stop before it in an actor's thread."""
    actor = getattr(_current, "actor", None)
    if actor is None:
        return _fetch(statement, params, **options)
    # What the statement locks stays locked until its commit, which is a step of its own.
    with transaction.atomic(savepoint=False):
        actor.stop_before(_first_words(statement))
        return _fetch(statement, params, **options)


def _first_words(statement: Any) -> str:
    return " ".join(str(statement).split()[:6])[:70]
