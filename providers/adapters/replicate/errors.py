"""Replicate's errors: problem documents of calls, the text of predictions that failed."""

from datetime import UTC, datetime
from typing import Any

from pixsim.core.net.client import parse_retry_after
from pixsim.core.patterns import pattern
from providers.adapters.errors import LONGEST_MESSAGE, ErrorClass, ProviderError, names_a_field
from providers.adapters.http import Answer, by_status

find_reset = pattern(
    r"(?:resets in ~|available in )(\d{1,9}) ?s", longest=LONGEST_MESSAGE, method="search"
)
find_code = pattern(r"\b(E\d{3,4})\b", longest=LONGEST_MESSAGE, method="search")
find_filtered = pattern(
    r"(?i)nsfw|flagged as sensitive|content polic|moderat", longest=LONGEST_MESSAGE, method="search"
)
find_refused_input = pattern(
    r"(?i)input validation|invalid input|unsupported image",
    longest=LONGEST_MESSAGE,
    method="search",
)

CODES = {
    "E005": ErrorClass.FILTERED,
    "E1001": ErrorClass.INVALID_PARAMETER,
    "E4875": ErrorClass.UNAVAILABLE,
    "E6716": ErrorClass.UNAVAILABLE,
}
"""replicate.com/docs/reference/error-codes, and E005 of the official picture models: flagged."""


def classify(answer: Answer) -> ProviderError | None:
    """Return the error in an answer of any status: `detail` or `title` of a problem document."""
    body = answer.body
    if "id" in body or not (body.get("detail") or body.get("title")):
        return None
    message = str(body.get("detail") or body["title"]).strip()
    found = by_status(answer, message, str(body.get("title") or "") or None)
    if answer.status == 429 and found.retry_after is None and (match := find_reset(message)):
        found.retry_after = parse_retry_after(match[1], now=datetime.now(UTC))
    if answer.status == 403:  # 401 is a wrong token
        found.error_class = ErrorClass.MODEL_ACCESS
    if find_filtered(message) and not names_a_field(message):
        found.error_class = ErrorClass.FILTERED
    return found


def of_prediction(error: Any) -> ProviderError:
    """Return the error of a prediction that failed. It may have been charged, so it is not retried."""
    message = str(error or "The prediction failed; no reason was given.")
    match = find_code(message)
    code = match[1] if match else None
    if code in CODES:
        error_class = CODES[code]
    elif find_refused_input(message):
        error_class = ErrorClass.INVALID_PARAMETER
    elif find_filtered(message):
        error_class = ErrorClass.FILTERED
    else:
        error_class = ErrorClass.UNKNOWN
    return ProviderError(error_class, message, code=code)
