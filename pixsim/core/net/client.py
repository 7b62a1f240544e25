"""The client for all requests to servers outside."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver
from django.conf import settings
from yarl import URL

from pixsim.core.formats import first_line
from pixsim.core.net.addresses import AddressPolicy
from pixsim.core.net.connection import HEADER_LIMITS, Connector, Contact, check_headers
from pixsim.core.net.encodings import BadCoding, TooLarge, codings, undo
from pixsim.core.net.errors import FetchError, Reason
from pixsim.core.net.limits import Limits
from pixsim.core.urls import BadUrl, sendable

REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_BUFFER_BYTES = 256 * 1024
IDLE_CONNECTION_SECONDS = 30
DNS_CACHE_SECONDS = 300
DNS_CACHE_HOSTS = 10_000
LONGEST_RETRY_AFTER = 24 * 3600.0
LONGEST_HTTP_DATE = 64
LONGEST_PHRASE = 200
ASCII = bytes(range(0x80)).decode()

# No system call reports it, and both aiohappyeyeballs and aiohttp keep it while they wrap errors.
BLOCKED_ERRNO = -7001

# c-ares: ARES_ENODATA and ARES_ENOTFOUND.
UNKNOWN_NAME_ARES = (1, 4)

OnHeaders = Callable[[str, int, Mapping[str, str]], None]
OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Response:
    """A complete 2xx answer: the final address, its headers (any case) and the body, decoded."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Fetches over a pool of kept connections; an async context manager of one event loop.

    Every connection, also of a redirect or to a literal address, passes `policy` with the final
    IP address just before the socket is made. No proxy, no cookies, no credentials from the URL;
    certificates are verified. `resolver` replaces the system's name servers.
    """

    def __init__(
        self,
        *,
        policy: AddressPolicy | None = None,
        user_agent: str | None = None,
        limits: Limits | None = None,
        connections: int = 256,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._policy = policy or AddressPolicy.from_settings()
        self._user_agent = user_agent or settings.CRAWL_USER_AGENT
        self._limits = limits or Limits.from_settings()
        self._connections = connections
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._resolver is None:
            self._resolver = _system_resolver(self._limits.connect_timeout)
        connector = Connector(
            socket_factory=self._open_socket,
            resolver=self._resolver,
            limit=self._connections,
            ttl_dns_cache=DNS_CACHE_SECONDS,
            dns_cache_max_size=DNS_CACHE_HOSTS,
            keepalive_timeout=IDLE_CONNECTION_SECONDS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
            **HEADER_LIMITS,
            headers={
                "User-Agent": self._user_agent,
                "Accept": "*/*",
                "Accept-Encoding": "identity",
            },
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    async def fetch(
        self,
        url: str,
        *,
        limits: Limits | None = None,
        headers: Mapping[str, str] | None = None,
        on_headers: OnHeaders | None = None,
        on_bytes: OnBytes | None = None,
        as_sent: bool = False,
    ) -> Response:
        """GET `url` and return its complete body, without content codings unless `as_sent`.

        `headers` are sent to the origin of `url` only, never to where it redirects elsewhere.
        `on_headers(url, status, headers)` is called for every answer, redirects and errors
        included, before its body is read; `on_bytes(n)` whenever n more bytes of the body came, or
        it became n bytes larger by being decoded. What they raise ends the fetch and passes through.

        Raises FetchError for anything but a 2xx answer within the limits.
        """
        limits = limits or self._limits
        target = parse_url(url)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=limits.connect_timeout, sock_read=limits.read_timeout
        )
        if self._session is None:
            raise RuntimeError("Client.fetch needs `async with Client() as client`")
        contact = Contact()
        was_redirected = False
        try:
            async with asyncio.timeout(limits.total_timeout):
                for _ in range(limits.max_redirects + 1):
                    async with self._session.get(
                        target, headers=headers, timeout=timeout, allow_redirects=False
                    ) as answer:
                        check_headers(answer)
                        if on_headers is not None:
                            on_headers(str(target), answer.status, answer.headers)
                        if answer.status not in REDIRECTS:
                            body = await _body(answer, limits, on_bytes)
                            if not as_sent:
                                body = await _decoded(body, answer, limits, on_bytes)
                            return Response(str(target), answer.status, answer.headers, body)
                        destination = _redirect_target(answer, target)
                    if destination.origin() != target.origin():
                        headers = None
                    target = destination
                    was_redirected = True
        except (aiohttp.ClientError, OSError, UnicodeError) as exc:
            error = _fetch_error(exc, target, limits, contact)
            error.answered = error.answered or was_redirected
            raise error from exc
        except FetchError as error:
            error.answered = True  # It is about an answer.
            raise
        raise FetchError(
            Reason.TOO_MANY_REDIRECTS,
            f"more than {limits.max_redirects} redirects from {url}",
            answered=True,
        )

    def _open_socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one connection attempt, or refuse its final address."""
        family, kind, protocol, _, (ip, port, *_) = address
        if refusal := self._policy.refusal(ip, port):
            raise _Refused(BLOCKED_ERRNO, refusal)
        return socket.socket(family, kind, protocol)


class _Refused(OSError):
    """An address that the policy refuses; an OSError, so that the host's next address is tried."""

    def __str__(self) -> str:
        return str(self.strerror)


def parse_url(url: str, base: str = "") -> URL:
    """Return what is asked for at an address, or at a reference in a document at `base`.

    Raise FetchError(bad_url) unless it is an http or https address; see `sendable`.
    """
    try:
        scheme, _, authority, target = sendable(url, base).split("/", 3)
    except BadUrl as error:
        raise FetchError(Reason.BAD_URL, f"{url[:200]!r}: {error}") from error
    # The query is given as part of the path: yarl would drop an empty one.
    return URL.build(
        scheme=scheme.removesuffix(":"), authority=authority, path=f"/{target}", encoded=True
    )


def redirected(url: str, location: str) -> URL:
    """Return where a Location header of `url` leads. Raise FetchError(bad_url).

    Its bytes beyond ASCII are escaped one by one, whatever encoding they are in, as by browsers.
    """
    return parse_url(quote(location.encode("utf-8", "surrogateescape"), safe=ASCII), url)


def address_refusal(url: str, *, policy: AddressPolicy | None = None) -> str | None:
    """Return why `url` will never be fetched, as far as its text tells, or None. Ask no name server.

    For addresses that people give: what is refused here is refused to them at once.
    """
    try:
        target = parse_url(url)
    except FetchError as error:
        return error.detail
    host = (target.raw_host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        host = "127.0.0.1"
    try:
        # As resolvers do, which read 0x7f.1 and 2130706433 as addresses, too.
        ip = host if ":" in host else socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
    return (policy or AddressPolicy.from_settings()).refusal(ip, target.port or 0)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, at most LONGEST_RETRY_AFTER.

    It has seconds or a date. Return None for what is neither, or not in the future.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)  # infinite from about 310 digits on
    else:
        try:
            moment = parsedate_to_datetime(text[:LONGEST_HTTP_DATE])
            seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
        except (ValueError, OverflowError, TypeError, IndexError):  # all by odd dates
            return None
    return min(seconds, LONGEST_RETRY_AFTER) if seconds > 0 else None


async def _body(answer: aiohttp.ClientResponse, limits: Limits, on_bytes: OnBytes | None) -> bytes:
    """Read the body of a 2xx answer, counting what really arrives."""
    if not 200 <= answer.status < 300:
        raise _status_error(answer)
    if (answer.content_length or 0) > limits.max_bytes:
        raise _too_large(limits)
    now = asyncio.get_running_loop().time
    began, grace = now(), limits.read_timeout / 3
    chunks: list[bytes] = []
    received = 0
    while chunk := await answer.content.readany():
        chunks.append(chunk)
        received += len(chunk)
        if received > limits.max_bytes:
            raise _too_large(limits)
        if on_bytes is not None:
            on_bytes(len(chunk))
        elapsed = now() - began
        if elapsed > grace and received < elapsed * limits.min_bytes_per_second:
            raise FetchError(
                Reason.TOO_SLOW,
                f"{received} bytes in {elapsed:.1f} s, "
                f"below {limits.min_bytes_per_second:g} bytes per second",
                answer.status,
            )
    return b"".join(chunks)


async def _decoded(
    body: bytes, answer: aiohttp.ClientResponse, limits: Limits, on_bytes: OnBytes | None
) -> bytes:
    names = codings(answer.headers)
    try:
        return await undo(names, body, most=limits.max_bytes, on_bytes=on_bytes)
    except TooLarge:
        raise _too_large(limits, "decoded, ") from None
    except BadCoding as error:
        raise _bad_answer(f"its body cannot be decoded: {error}", answer) from None


def _too_large(limits: Limits, what: str = "") -> FetchError:
    return FetchError(Reason.TOO_LARGE, f"{what}more than {limits.max_bytes} bytes")


def _redirect_target(answer: aiohttp.ClientResponse, target: URL) -> URL:
    location = answer.headers.get("Location", "").strip()
    if not location:
        raise _bad_answer("a redirect without Location", answer)
    return redirected(str(target), location)


def _bad_answer(detail: str, answer: aiohttp.ClientResponse) -> FetchError:
    """Return the error of an answer that nothing can be made of, now or later."""
    return FetchError(Reason.BAD_ANSWER, detail, answer.status, retryable=False)


def _status_error(answer: aiohttp.ClientResponse) -> FetchError:
    status = answer.status
    detail = f"HTTP {status} {(answer.reason or '')[:LONGEST_PHRASE]}".rstrip()
    if status in (429, 503):
        wait = parse_retry_after(answer.headers.get("Retry-After"), now=datetime.now(UTC))
        return FetchError(Reason.THROTTLED, detail, status, wait)
    if status >= 500:
        return FetchError(Reason.HTTP_5XX, detail, status)
    if status < 400:  # 304, although nothing was said of an earlier answer
        return _bad_answer(detail, answer)
    return FetchError(Reason.HTTP_4XX, detail, status, retryable=status in (408, 425))


def _fetch_error(exc: Exception, target: URL, limits: Limits, contact: Contact) -> FetchError:
    """Return what a library's error means. The order matters: the classes inherit from each other."""
    reason, detail = Reason.CONNECT, str(exc) or type(exc).__name__
    retryable: bool | None = None
    answered = contact.was_made
    match exc:
        case aiohttp.ConnectionTimeoutError():
            reason, detail = Reason.TIMEOUT, f"no connection within {limits.connect_timeout:g} s"
        case aiohttp.SocketTimeoutError():
            reason, detail = Reason.TIMEOUT, f"silent for {limits.read_timeout:g} s"
            answered = contact.brought_bytes
        case TimeoutError():
            reason, detail = Reason.TIMEOUT, f"not finished within {limits.total_timeout:g} s"
            answered = contact.brought_bytes
        case aiohttp.ClientConnectorDNSError():
            reason, detail = Reason.DNS, exc.os_error.strerror or str(exc.os_error)
            retryable = not _is_unknown_name(exc.os_error)
        case aiohttp.ClientSSLError():
            reason = Reason.TLS
        case aiohttp.ClientConnectorError() if exc.os_error.errno == BLOCKED_ERRNO:
            reason, detail = Reason.BLOCKED_ADDRESS, str(exc.os_error.strerror)
        case aiohttp.InvalidURL() | UnicodeError():
            return FetchError(Reason.BAD_URL, f"{str(target)[:200]!r}: {exc}")
        case aiohttp.ClientConnectorError():
            detail = _words(exc.os_error)
        case aiohttp.ClientOSError() if isinstance(exc.__cause__, ssl.SSLError):
            reason = Reason.TLS
        case aiohttp.ClientResponseError():
            message = exc.message.partition("\n")[0]  # The next lines are what came.
            reason, detail = Reason.BAD_ANSWER, f"not a sound HTTP answer: {message}"
        case aiohttp.ClientPayloadError():
            reason, detail = Reason.BAD_ANSWER, f"the body broke off: {first_line(exc)}"
        case _ if contact.brought_bytes:
            reason, detail = Reason.BAD_ANSWER, "the answer broke off within its headers"
        case _ if contact.was_made:
            detail = "it hung up without an answer"
    return FetchError(
        reason, f"{target.raw_host}: {detail}", retryable=retryable, answered=answered
    )


def _is_unknown_name(error: OSError) -> bool:
    """Whether the name servers answered that there is no such name or no address for it."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_NONAME
    cause = error.__cause__
    return cause is not None and bool(cause.args) and cause.args[0] in UNKNOWN_NAME_ARES


def _words(error: OSError) -> str:
    known = errno.errorcode.get(error.errno or 0)
    return f"{error.strerror or error} ({known})" if known else str(error)


def _system_resolver(seconds: float) -> AbstractResolver:
    """c-ares where it is installed; it gives up after `seconds` for two tries together."""
    try:
        return aiohttp.AsyncResolver(timeout=seconds / 2, tries=2)
    except RuntimeError:
        return aiohttp.ThreadedResolver()
