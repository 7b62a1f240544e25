"""A session: one caller's tasks in the engine, and where their results come back."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from crawler.fetch.tasks import Picture, Refused, Rules, Task
from pixsim.core.net import Limits

if TYPE_CHECKING:
    from crawler.fetch.engine import Engine

Result = Picture | Refused


class EngineFailed(Exception):
    """The engine itself cannot go on: no decoder, no storage. No task is to blame."""


class StorageFull(EngineFailed):
    """There is no room for more pictures. What was stored before is intact."""


class Session:
    """Made by `Engine.session`. Submit and collect from one thread.

    Every submitted task comes back exactly once: as a result of `collect`, or in the list that
    `cancel` returns.
    """

    def __init__(self, engine: Engine, rules: Rules) -> None:
        self.rules = rules
        self.checks = rules.checks
        self.limits = replace(Limits.from_settings(), max_bytes=rules.max_bytes)
        self.cancelled = False
        self._engine = engine
        self._open: dict[int, Task] = {}
        self._results: list[Result] = []
        self._failure: EngineFailed | None = None
        self._changed = threading.Condition()

    # The caller's side

    @property
    def in_flight(self) -> int:
        """Tasks submitted and not yet collected."""
        return len(self._open)

    def submit(self, tasks: Iterable[Task]) -> None:
        """Hand over tasks with distinct ids. Returns at once."""
        remote, local, refused = [], [], []
        for task in tasks:
            self._open[task.id] = task
            if refusal := self.rules.licence_refusal(task.provenance):
                refused.append(Refused(task, "licence", refusal))
            elif urlsplit(task.url).scheme == "file":
                local.append(task)
            else:
                remote.append(task)
        if refused:
            self.deliver(refused)
        self._engine.take(self, remote, local)

    def collect(self, timeout: float = 0.1) -> list[Result]:
        """All results there are; if there are none, wait up to `timeout` seconds for the first.

        Raises EngineFailed, or StorageFull, when the engine cannot go on and all results are
        collected; what is unfinished stays so until `cancel` returns it.
        """
        with self._changed:
            if not self._results and self._failure is None:
                self._changed.wait(timeout)
            results, self._results = self._results, []
            if not results and self._failure is not None:
                raise self._failure
        for result in results:
            del self._open[result.task.id]
        return results

    def cancel(self) -> list[Task]:
        """Abandon what is in flight and return the tasks without a result. Quick.

        Results that were there already can still be collected.
        """
        with self._changed:
            self.cancelled = True
            self._failure = None
            finished = {result.task.id for result in self._results}
            unfinished = [task for id, task in self._open.items() if id not in finished]
            for task in unfinished:
                del self._open[task.id]
        self._engine.drop(self)
        return unfinished

    # The engine's side, from any thread

    def deliver(self, results: list[Result] | list[Refused] | list[Picture]) -> None:
        """Add results; after `cancel` they are dropped."""
        with self._changed:
            if not self.cancelled:
                self._results.extend(results)
                self._changed.notify()

    def fail(self, failure: EngineFailed) -> None:
        """Let the next `collect` raise."""
        with self._changed:
            if not self.cancelled:
                self._failure = self._failure or failure
                self._changed.notify()
