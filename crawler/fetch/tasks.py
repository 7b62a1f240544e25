"""What goes into the engine and what comes out of it."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pixsim.core.formats import first_line

logger = logging.getLogger(__name__)


CRASHES_OF_A_HOST = 3
"""A host whose pictures ended so many decoders in one job is not asked any more in that job."""


@dataclass(frozen=True, slots=True)
class Task:
    """A candidate to fetch. Its server is limited under the name `host`, with a port of its own.

    `has_waited` says that it was not sent before, since its host rested.
    """

    id: int
    url: str
    host: str
    label: str
    provenance: dict[str, Any] | None
    tries: int
    has_waited: bool = False


@dataclass(slots=True)
class Picture:
    """A checked picture whose bytes are stored under `key`. `url` is that after redirects.

    `phash` is None for a flat picture, which resembles nothing.
    """

    task: Task
    url: str
    sha256: str
    phash: int | None
    width: int
    height: int
    format: str
    file_size: int
    key: str
    retrieved_at: datetime


@dataclass(slots=True)
class Refused:
    """A candidate that brought no picture.

    `outcome` is a value of crawler.models.Outcome. With `retry_after`, seconds, the candidate may
    be tried again after that time; without, the outcome is final. `host_is_silent` says that its
    host did not answer at all.
    """

    task: Task
    outcome: str
    detail: str
    retry_after: float | None = None
    host_is_silent: bool = False


class Trouble(NamedTuple):
    """Why a host rests: an outcome for what is not sent for too long, and whether waiting may help."""

    outcome: str
    detail: str
    may_pass: bool = True


@dataclass(slots=True)
class NotSent:
    """A candidate that its host lets wait `seconds`: in `trouble`, or since its turn comes later."""

    task: Task
    seconds: float
    trouble: Trouble | None = None


Result = Picture | Refused | NotSent


def host_refusal(url: str) -> str:
    """Return why a host's pictures are refused; `url` is that of the last one it crashed over."""
    return (
        f"{CRASHES_OF_A_HOST} pictures of this host ended the decoder, the last one {url[:500]}; "
        "retry the job to try the others"
    )


def refused_by(error: Exception, task: Task) -> Refused:
    """Return the result of a candidate over which nobody foresaw this error; log where it arose.

    It is the trouble of that candidate alone: whatever a server can answer must not end a session.
    """
    logger.error("Candidate %s (%s) is refused", task.id, task.url[:200], exc_info=error)
    return Refused(
        task, "internal_error", f"unexpected {type(error).__name__}: {first_line(error)}"
    )


class EngineFailed(Exception):
    """The engine itself cannot go on (no decoder, no storage); the tasks are not the reason."""


class StorageFull(EngineFailed):
    """There is no room for more pictures. What was stored before is intact."""
