"""A session: one caller's tasks in the engine, and where their results come back."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from crawler.fetch.rules import Rules
from crawler.fetch.tasks import (
    CRASHES_OF_A_HOST,
    EngineFailed,
    Refused,
    Result,
    Task,
    host_refusal,
    refused_by,
)
from pixsim.core.net import Limits


class Session:
    """Made by `Engine.session`. Submit and collect from one thread.

    Every submitted task comes back exactly once: as a result of `collect`, or in the list that
    `cancel` returns. The engine's `take` begins remote and local tasks; its `drop` abandons them.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        take: Callable[["Session", list[Task], list[Task]], None],
        drop: Callable[["Session"], None],
    ) -> None:
        self.rules = rules
        self.checks = rules.checks
        self.limits = replace(Limits.from_settings(), max_bytes=rules.max_bytes)
        self.cancelled = False
        self._take, self._drop = take, drop
        self._open: dict[int, Task] = {}
        self._results: list[Result] = []
        self._failure: EngineFailed | None = None
        self._crashes: dict[str, list[str]] = {}
        """By host, the addresses whose pictures ended a decoder."""
        self._changed = threading.Condition()

    # The caller's side

    @property
    def in_flight(self) -> int:
        """Tasks submitted and not yet collected."""
        return len(self._open)

    def submit(self, tasks: Iterable[Task]) -> None:
        """Hand over tasks with distinct ids. Returns at once."""
        remote: list[Task] = []
        local: list[Task] = []
        refused: list[Result] = []
        for task in tasks:
            self._open[task.id] = task
            try:
                refusal = self.rules.licence_refusal(task.provenance)
                is_local = urlsplit(task.url).scheme == "file"
            except Exception as error:  # a row that was made by hand
                refused.append(refused_by(error, task))
                continue
            if refusal:
                refused.append(Refused(task, "licence", refusal))
            else:
                (local if is_local else remote).append(task)
        if refused:
            self.deliver(refused)
        self._take(self, remote, local)

    def collect(self, timeout: float = 0.1) -> list[Result]:
        """Return all results there are, waiting up to `timeout` seconds if there are none.

        Raise EngineFailed, or StorageFull, when the engine cannot go on and all results are
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
        self._drop(self)
        return unfinished

    # The engine's side, from any thread

    def refusal_of_host(self, task: Task) -> Refused | None:
        """Return that the task's host ended too many decoders, or None."""
        crashes = self._crashes.get(task.host, [])
        if len(crashes) < CRASHES_OF_A_HOST:
            return None
        return Refused(task, "host_refused", host_refusal(crashes[-1]))

    def deliver(self, results: Sequence[Result]) -> None:
        """Add results; after `cancel` they are dropped."""
        with self._changed:
            for result in results:
                if isinstance(result, Refused) and result.outcome == "decoder_crash":
                    self._crashes.setdefault(result.task.host, []).append(result.task.url)
            if not self.cancelled:
                self._results.extend(results)
                self._changed.notify()

    def fail(self, failure: EngineFailed) -> None:
        """Have the next `collect` raise this."""
        with self._changed:
            if not self.cancelled:
                self._failure = self._failure or failure
                self._changed.notify()
