"""Why a fetch failed: one closed list of reasons, and words for people."""

from enum import StrEnum


class Reason(StrEnum):
    """Every way in which a fetch can fail."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_SLOW = "too_slow"
    BLOCKED_ADDRESS = "blocked_address"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    TOO_LARGE = "too_large"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    THROTTLED = "throttled"
    BAD_URL = "bad_url"


TRANSIENT = frozenset(
    {Reason.DNS, Reason.CONNECT, Reason.TIMEOUT, Reason.TOO_SLOW, Reason.HTTP_5XX, Reason.THROTTLED}
)


class FetchError(Exception):
    """A fetch that brought nothing.

    `detail` says it for people, `status` is the HTTP status if there was an answer,
    `retry_after` the wait in seconds that the server asked for, and `retryable` whether the same
    fetch may succeed later.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(reason, detail, status, retry_after, retryable)
        self.reason = reason
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        self.retryable = reason in TRANSIENT if retryable is None else retryable

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
