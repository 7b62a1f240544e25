"""Connections whose answers may have the headers that browsers accept, and which tell what came."""

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import BadHttpMessage

# What Chromium accepts of all headers together. It does not count them; each costs us memory, too.
MAX_HEADER_BYTES = 256 * 1024
MAX_HEADERS = 10_000
TOO_LONG = f"more than {MAX_HEADER_BYTES // 1024} KiB of headers"

HEADER_LIMITS: dict[str, Any] = {
    "max_line_size": MAX_HEADER_BYTES,
    "max_field_size": MAX_HEADER_BYTES,
    "max_headers": MAX_HEADERS,
}
"""For aiohttp, which limits each line and their number, but not all of them together."""


class Contact:
    """How far the requests got that the present asyncio task makes from now on."""

    def __init__(self) -> None:
        self.connection: _Connection | None = None
        _contact.set(self)

    @property
    def was_made(self) -> bool:
        """Whether there is a connection for the last request, TLS included."""
        return self.connection is not None

    @property
    def brought_bytes(self) -> bool:
        """Whether any byte has come in answer to the last request."""
        return self.connection is not None and self.connection.has_answered


_contact: ContextVar[Contact] = ContextVar("contact")


class Connector(aiohttp.TCPConnector):
    """A connector of such connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        connection: type[ResponseHandler] = _Connection
        self._factory = partial(connection, loop=asyncio.get_running_loop())

    async def connect(self, *arguments: Any, **options: Any) -> Connection:
        contact = _contact.get()
        contact.connection = None
        made = await super().connect(*arguments, **options)
        if isinstance(made.protocol, _Connection):
            contact.connection = made.protocol
        return made


class _Connection(ResponseHandler):
    """Ends when as many bytes come in a row as headers may have, and none of them is of a body.

    Those are headers or, after a body in chunks, trailers.
    """

    has_answered = False
    _read = 0  # of the body
    _others = 0

    def set_response_params(self, **params: Any) -> None:
        self._read = self._others = 0
        self.has_answered = False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        self.has_answered = True
        super().data_received(data)
        read = self._payload.total_bytes if self._payload is not None else 0
        self._others = self._others + len(data) if read == self._read else 0
        self._read = read
        if self._others > MAX_HEADER_BYTES and self.transport is not None:
            self.transport.close()
            self.set_exception(BadHttpMessage(TOO_LONG))
            if self._payload is not None:
                self._payload.set_exception(aiohttp.ClientPayloadError(TOO_LONG))


def check_headers(answer: aiohttp.ClientResponse) -> None:
    """Raise ClientResponseError for an answer with more than MAX_HEADER_BYTES of headers.

    However they were divided on their way: a connection can only tell when it received more.
    """
    size = sum(len(name) + len(value) + 4 for name, value in answer.raw_headers)
    if size > MAX_HEADER_BYTES:
        raise aiohttp.ClientResponseError(answer.request_info, answer.history, message=TOO_LONG)
