"""OpenAI's error codes, from its guide to error codes and its reference."""

from collections.abc import Mapping
from typing import Any

from pixsim.core.patterns import pattern
from providers.adapters.errors import LONGEST_MESSAGE, ErrorClass, ProviderError
from providers.adapters.http import Answer, by_status

CODES = {
    "moderation_blocked": ErrorClass.FILTERED,
    "content_policy_violation": ErrorClass.FILTERED,
    "insufficient_quota": ErrorClass.QUOTA,
    "billing_hard_limit_reached": ErrorClass.QUOTA,
    "credit_balance_exhausted": ErrorClass.QUOTA,
    "invalid_api_key": ErrorClass.AUTH,
    "account_deactivated": ErrorClass.AUTH,
    "unsupported_country_region_territory": ErrorClass.AUTH,
    "rate_limit_exceeded": ErrorClass.RATE_LIMIT,
    "slow_down": ErrorClass.RATE_LIMIT,
    "server_is_overloaded": ErrorClass.UNAVAILABLE,
}
"""Class by `code`, else by `type`. Other errors are classified by their status."""

names_a_model = pattern(
    r"(?i)\b(the|this|to) model\b|does not have access to", longest=LONGEST_MESSAGE, method="search"
)
"""A 403 for one model only, such as "Your organization must be verified to use the model …"."""


def classify(answer: Answer) -> ProviderError | None:
    """Return the error of a call. The `error` of a video that failed is not the call's."""
    error = answer.body.get("error")
    if not isinstance(error, dict) or answer.body.get("object") == "video":
        return None
    found = by_status(answer, *_words(error))
    found.error_class = _class(error) or found.error_class
    if (answer.status == 403 and names_a_model(str(found))) or found.code == "model_not_found":
        found.error_class = ErrorClass.MODEL_ACCESS
    return found


def of_video(error: Any) -> ProviderError:
    """Return the error of a video that failed. Unless it was refused, a retry may succeed."""
    if not isinstance(error, dict):
        return ProviderError(ErrorClass.UNAVAILABLE, "The video failed; no reason was given.")
    message, code = _words(error)
    return ProviderError(_class(error) or ErrorClass.UNAVAILABLE, message, code=code)


def _class(error: Mapping[str, Any]) -> ErrorClass | None:
    return CODES.get(str(error.get("code"))) or CODES.get(str(error.get("type")))


def _words(error: Mapping[str, Any]) -> tuple[str, str | None]:
    code = error.get("code") or error.get("type")
    return str(error.get("message") or code or "No reason was given."), code and str(code)
