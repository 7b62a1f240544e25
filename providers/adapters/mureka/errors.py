"""Mureka's errors: status and message of calls, the reason of songs that failed."""

from typing import Any

from pixsim.core.patterns import pattern
from providers.adapters.errors import LONGEST_MESSAGE, ErrorClass, ProviderError, names_a_field
from providers.adapters.http import Answer, by_status

# "429: Rate limit reached for requests" and "429: You exceeded your current quota, please check
# your plan and billing details" (platform.mureka.ai/docs/en/error-codes.html).
find_no_credit = pattern(r"(?i)quota|billing|balance", longest=LONGEST_MESSAGE, method="search")
find_too_many = pattern(r"(?i)concurren", longest=LONGEST_MESSAGE, method="search")
find_filtered = pattern(
    r"(?i)moderat|sensitive|inappropriate|violat|prohibited|copyright",
    longest=LONGEST_MESSAGE,
    method="search",
)


def classify(answer: Answer) -> ProviderError | None:
    """Return the error in an answer of any status."""
    error = answer.body.get("error")
    if not error:
        return None
    message = str(error.get("message") or error) if isinstance(error, dict) else str(error)
    found = by_status(answer, message)
    if answer.status == 429 and find_no_credit(message):
        found.error_class = ErrorClass.QUOTA
    elif answer.status == 429 and find_too_many(message):
        found.error_class = ErrorClass.CONCURRENT_LIMIT
    elif answer.status == 400 and find_filtered(message) and not names_a_field(message):
        found.error_class = ErrorClass.FILTERED
    return found


def of_song(reason: Any) -> ProviderError:
    """Return the error of a song that failed. It may have been charged, so it is not retried."""
    message = str(reason or "The song failed; no reason was given.")
    filtered = find_filtered(message)
    return ProviderError(ErrorClass.FILTERED if filtered else ErrorClass.UNKNOWN, message)
