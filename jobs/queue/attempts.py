"""What is told of attempts: one log line for each that ends, and Celery's task events."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from jobs.queue.kinds import Work
from jobs.queue.worker import celery_tools, metrics
from jobs.queue.worker.celery_tools import Event

EVENTS = {
    "completed": "succeeded",
    "failed": "failed",
    "lost": "failed",
    "retry": "retried",
    "given_back": "retried",
}

logger = logging.getLogger("jobs.attempts")


class Ended(NamedTuple):
    """An attempt that has ended, and its item: what the statements return that take items away."""

    id: int
    status: str
    parent_id: int | None
    owner_id: UUID | None
    outcome: str
    """One of `jobs.models.AttemptOutcome`."""
    number: int
    seconds: float | None
    """None for what is no attempt: an item given back before it began, or that only waits."""
    worker: str | None
    task_id: str | None
    error_class: str | None
    error_message: str | None


def log_on_commit(
    kind: str,
    ended: Sequence[Ended],
    *,
    details: Mapping[int, Mapping[str, Any]],
    error: BaseException | None = None,
) -> None:
    """Log and count each attempt when the transaction that ended it commits.

    `error` is an exception that nobody expected: its traceback is logged with the item.
    """
    if logger.isEnabledFor(logging.INFO) or any(item.outcome != "completed" for item in ended):
        transaction.on_commit(partial(_log, kind, ended, details, error))
    if celery_tools.are_events_wanted():
        transaction.on_commit(partial(_send_ends, kind, ended))
    if metrics.is_counting():
        told = [(item.outcome, item.seconds) for item in ended if item.seconds is not None]
        transaction.on_commit(partial(metrics.add_attempts, kind, told))


def tell_on_commit(works: Sequence[Work]) -> None:
    """Send the events that these attempts begin, when the claim commits."""
    if celery_tools.are_events_wanted():
        events = [
            Event(step, work.kind.name, work.id, work.attempt)
            for work in works
            for step in ("received", "started")
        ]
        transaction.on_commit(partial(celery_tools.send, events))


def _send_ends(kind: str, ended: Sequence[Ended]) -> None:
    """Send the end of each, also of what is no attempt: Celery was told that it began."""
    celery_tools.send(
        [
            Event(
                EVENTS[item.outcome],
                kind,
                item.id,
                item.number,
                {
                    "runtime": item.seconds or 0.0,
                    "result": repr(item.outcome),
                    "exception": f"{item.error_class}({item.error_message!r})",
                },
            )
            for item in ended
        ]
    )


def _log(
    kind: str,
    ended: Sequence[Ended],
    details: Mapping[int, Mapping[str, Any]],
    error: BaseException | None,
) -> None:
    for item in ended:
        if item.seconds is None:
            continue
        did = details.get(item.id) or {}
        fields = {
            "kind": kind,
            "item": item.id,
            "parent": item.parent_id,
            "owner": item.owner_id and str(item.owner_id),
            "attempt": item.number,
            "outcome": item.outcome,
            "seconds": item.seconds and round(item.seconds, 3),
            "worker": item.worker,
            "task": item.task_id,
            "error_class": item.error_class,
            **did,
        }
        logger.log(
            _level(item), _sentence(kind, item, did), exc_info=error, extra={"fields": fields}
        )


def _level(item: Ended) -> int:
    if item.outcome == "failed":
        return logging.ERROR
    return logging.INFO if item.outcome in ("completed", "given_back") else logging.WARNING


def _sentence(kind: str, item: Ended, did: Mapping[str, Any]) -> str:
    words = [f"{kind} {item.id}"]
    if item.parent_id is not None:
        words.append(f"of job {item.parent_id}")
    words.append(f"attempt {item.number} {item.outcome.replace('_', ' ')}")
    if item.seconds is not None:
        words.append(f"after {item.seconds:.2f} s")
    if did:
        words.append("(" + ", ".join(f"{name} {value}" for name, value in did.items()) + ")")
    words.append(f"by {item.worker}")
    text = " ".join(words)
    if item.outcome != "completed" and item.error_message:
        text += ": " + " ".join(item.error_message.split())
    return text
