"""What can go wrong at a provider, classified once; the class decides what happens next."""

from __future__ import annotations

from enum import StrEnum

from pixsim.core.text import storable

MAX_MESSAGE = 4000


class ErrorClass(StrEnum):
    """Why a call or a generation failed."""

    AUTH = "auth"
    """The credentials are wrong or have expired: the account errs, another may be tried."""
    QUOTA = "quota"
    """The account has no credit left: it is exhausted, another may be tried."""
    RATE_LIMIT = "rate_limit"
    """Too many requests: the account cools down, another may be tried."""
    CONCURRENT_LIMIT = "concurrent_limit"
    """Too many generations at once on the account: it cools down shortly."""
    FILTERED = "filtered"
    """The provider refuses the content. Final."""
    INVALID_PARAMETER = "invalid_parameter"
    """The provider refuses the parameters. Final."""
    UNAVAILABLE = "unavailable"
    """The provider is down, or was never reached: nothing was accepted; try again later."""
    TIMEOUT = "timeout"
    """No answer in time: the provider may have accepted the call."""
    UNKNOWN = "unknown"
    """An answer that makes no sense: the provider may have accepted the call."""


MAY_HAVE_BEEN_ACCEPTED = frozenset({ErrorClass.TIMEOUT, ErrorClass.UNKNOWN})
"""After these, a submission that was sent is `unknown`: it is never simply sent again."""


class ProviderError(Exception):
    """A call that failed, or a generation that did.

    `message` is for people and holds no secret; `code` is the provider's own, if it gave one;
    `retry_after` is in seconds.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(storable(message, longest=MAX_MESSAGE))
        self.error_class = error_class
        self.code = code
        self.retry_after = retry_after

    @property
    def may_have_been_accepted(self) -> bool:
        return self.error_class in MAY_HAVE_BEEN_ACCEPTED


class WebhookRefused(Exception):
    """A webhook that is not the provider's, too old, or not understood: nothing was changed."""
