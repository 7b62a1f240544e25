"""Why a fetch failed: one closed list of reasons, and words for people."""

from enum import StrEnum


class Reason(StrEnum):
    """Every way in which a fetch can fail."""

    DNS = "dns"
    CONNECT = "connect"
    BAD_ANSWER = "bad_answer"
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
    {
        Reason.DNS,
        Reason.CONNECT,
        Reason.BAD_ANSWER,
        Reason.TIMEOUT,
        Reason.TOO_SLOW,
        Reason.HTTP_5XX,
        Reason.THROTTLED,
    }
)


class FetchError(Exception):
    """A fetch that brought nothing.

    `detail` says it for people, `status` is the HTTP status if there was an answer,
    `retry_after` the wait in seconds that the server asked for, and `retryable` whether the same
    fetch may succeed later. `answered` says that the failure is this address's own: its host took
    the connection and sent something, however broken, or hung up.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        answered: bool | None = None,
    ) -> None:
        super().__init__(reason, detail, status, retry_after, retryable, answered)
        self.reason = reason
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        self.retryable = reason in TRANSIENT if retryable is None else retryable
        self.answered = status is not None if answered is None else answered

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
