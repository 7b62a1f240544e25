"""Mureka's errors: status and message of calls, the reason of songs that failed."""

import re
from typing import Any

from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Answer, by_status

# "429: Rate limit reached for requests" and "429: You exceeded your current quota, please check
# your plan and billing details" (platform.mureka.ai/docs/en/error-codes.html).
NO_CREDIT = re.compile(r"quota|billing|balance", re.IGNORECASE)
TOO_MANY = re.compile(r"concurren", re.IGNORECASE)
FILTERED = re.compile(r"moderat|sensitive|inappropriate|violat|prohibited|copyright", re.IGNORECASE)


def classify(answer: Answer) -> ProviderError | None:
    """Return the error in an answer of any status."""
    error = answer.body.get("error")
    if not error:
        return None
    message = str(error.get("message") or error) if isinstance(error, dict) else str(error)
    found = by_status(answer, message)
    if answer.status == 429 and NO_CREDIT.search(message):
        found.error_class = ErrorClass.QUOTA
    elif answer.status == 429 and TOO_MANY.search(message):
        found.error_class = ErrorClass.CONCURRENT_LIMIT
    elif answer.status == 400 and FILTERED.search(message):
        found.error_class = ErrorClass.FILTERED
    return found


def of_song(reason: Any) -> ProviderError:
    """Return the error of a song that failed. It may have been charged, so it is not retried."""
    message = str(reason or "The song failed; no reason was given.")
    filtered = FILTERED.search(message)
    return ProviderError(ErrorClass.FILTERED if filtered else ErrorClass.UNKNOWN, message)
