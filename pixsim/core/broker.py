"""Messages of the broker that nobody can handle: each is dropped with one log line.

Messages only notify, so a lost one costs a second; with Kombu's own transports one that is no JSON,
or has another envelope, ends the worker.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

logger = logging.getLogger(__name__)


@contextmanager
def dropping(transport: Any) -> Iterator[None]:
    """Drop what raises within the block, as if there were no message; let the broker's errors pass."""
    try:
        yield
    except (Empty, *transport.connection_errors, *transport.channel_errors):
        raise
    except Exception as error:
        log_dropped(error)
        raise Empty from error


def log_dropped(error: Exception) -> None:
    text = str(error).replace("\n", " ")
    logger.warning("A message of the broker is dropped: %s: %.200s", type(error).__name__, text)
