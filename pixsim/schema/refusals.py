"""The SQLSTATE with which a server refuses a connection.

The client library keeps only the sentence, which is in the language of the server. Its record of the
messages has the code: it is asked for once more, with that record in memory.
"""

import os
import re
import select
import time
from contextlib import suppress
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Error, pq
from psycopg.conninfo import make_conninfo

SECONDS = 10
REFUSED = re.compile(rb'\tErrorResponse\t.* C "([0-9A-Z]{5})"')
ENDED = (pq.PollingStatus.OK, pq.PollingStatus.FAILED)


def refusal_code(connection: BaseDatabaseWrapper) -> str:
    """Return the code of the server's refusal; empty if it answers now, or cannot be understood."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    given: dict[str, Any] = {
        name: value for name, value in connection.get_connection_params().items() if name in known
    }
    with suppress(Error, OSError, AttributeError):  # a system or library without such a record
        found = REFUSED.search(_messages(make_conninfo(**given).encode()))
        return found[1].decode() if found else ""
    return ""


def _messages(conninfo: bytes) -> bytes:
    """Connect, and return the record of the messages. It may have the password: keep it in memory."""
    descriptor = os.memfd_create("messages")
    with open(descriptor, "rb") as record:
        attempt = pq.PGconn.connect_start(conninfo)
        try:
            attempt.trace(descriptor)
            _poll(attempt, time.monotonic() + SECONDS)
            attempt.untrace()
        finally:
            attempt.finish()
        record.seek(0)
        return record.read()


def _poll(attempt: pq.abc.PGconn, deadline: float) -> None:
    while (state := attempt.connect_poll()) not in ENDED and time.monotonic() < deadline:
        is_reading = state == pq.PollingStatus.READING
        one, other = [attempt.socket] * is_reading, [attempt.socket] * (not is_reading)
        select.select(one, other, [], 1)
