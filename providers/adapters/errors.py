"""Errors of providers, classified once; `providers.error_policy` decides by class."""

from enum import StrEnum

from pixsim.core.patterns import pattern
from pixsim.core.redaction import redact
from pixsim.core.text import storable

MAX_MESSAGE = 4000
LONGEST_MESSAGE = 10_000
"""Characters of an error's text in which its class is looked for."""

names_a_field = pattern(
    r"(?i)additional propert|(is|are) required|must be|not allowed|not permitted|validation"
    r"|(unknown|unexpected|invalid|missing|unsupported) (input|field|key|parameter|argument|value)"
    r"|case[- ]sensitive",
    longest=LONGEST_MESSAGE,
    method="search",
)
"""A refusal of parameters, which may be called `moderation` or the like, is none of the content."""


class ErrorClass(StrEnum):
    """Why a call or a generation failed."""

    AUTH = "auth"
    """The credentials are wrong or have expired. The account is set to error; another is tried."""
    MODEL_ACCESS = "model_access"
    """The account may not use this model. It goes on with others; another account is tried."""
    QUOTA = "quota"
    """The account has no credit left. It is set to exhausted; another is tried."""
    RATE_LIMIT = "rate_limit"
    """Too many requests. The account cools down; another is tried."""
    CONCURRENT_LIMIT = "concurrent_limit"
    """Too many generations at once on the account. It cools down for a short time."""
    FILTERED = "filtered"
    """The provider refuses the content. Final."""
    INVALID_PARAMETER = "invalid_parameter"
    """The provider refuses the parameters. Final."""
    UNAVAILABLE = "unavailable"
    """The provider is down, or was not reached: nothing was accepted. Retried later."""
    TIMEOUT = "timeout"
    """No answer in time: the provider may have accepted the call."""
    UNKNOWN = "unknown"
    """An answer that cannot be read: the provider may have accepted the call."""


MAY_HAVE_BEEN_ACCEPTED = frozenset({ErrorClass.TIMEOUT, ErrorClass.UNKNOWN})
"""After these a sent submission is `unknown`: it is not sent again unless a look-up finds nothing."""


class ProviderError(Exception):
    """A call or a generation that failed.

    `message` is for people; what looks like a secret in it is masked. `code` is the provider's own,
    if there is one; `retry_after` is in seconds.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(storable(redact(message), longest=MAX_MESSAGE))
        self.error_class = error_class
        self.code = code
        self.retry_after = retry_after

    @property
    def may_have_been_accepted(self) -> bool:
        return self.error_class in MAY_HAVE_BEEN_ACCEPTED


class WebhookRefused(Exception):
    """The webhook is not the provider's, too old, or unreadable: nothing was changed."""
