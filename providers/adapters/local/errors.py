"""What can go wrong here: inputs that are no pictures, and troubles that are made on purpose."""

from __future__ import annotations

from pixsim.core.net import FetchError
from providers.adapters.errors import ErrorClass, ProviderError

TROUBLES = {
    ErrorClass.AUTH: "The key was refused.",
    ErrorClass.QUOTA: "The account has no credit left.",
    ErrorClass.RATE_LIMIT: "Too many requests.",
    ErrorClass.CONCURRENT_LIMIT: "Too many generations at once.",
    ErrorClass.FILTERED: "The content was refused.",
    ErrorClass.INVALID_PARAMETER: "The parameters were refused.",
    ErrorClass.UNAVAILABLE: "The provider is down.",
    ErrorClass.TIMEOUT: "No answer came in time.",
    ErrorClass.UNKNOWN: "The answer made no sense.",
}
RETRY_AFTER = 1.0


def trouble(error_class: ErrorClass) -> ProviderError:
    """The error of a failure that LOCAL_PROVIDER asked for."""
    waits = error_class in (ErrorClass.RATE_LIMIT, ErrorClass.CONCURRENT_LIMIT)
    return ProviderError(
        error_class,
        f"{TROUBLES[error_class]} (Made on purpose: LOCAL_PROVIDER sets a failure rate.)",
        code="drill",
        retry_after=RETRY_AFTER if waits else None,
    )


def of_input(error: FetchError) -> ProviderError:
    """The error of an input that could not be fetched."""
    error_class = ErrorClass.UNAVAILABLE if error.retryable else ErrorClass.INVALID_PARAMETER
    return ProviderError(
        error_class,
        f"image: cannot be fetched: {error.detail}",
        code=error.reason,
        retry_after=error.retry_after,
    )


def of_picture(why: str) -> ProviderError:
    """The error of an input that is no picture."""
    return ProviderError(ErrorClass.INVALID_PARAMETER, f"image: {why}", code="not_a_picture")
