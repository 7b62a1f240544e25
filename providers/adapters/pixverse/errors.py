"""PixVerse's error codes (docs.platform.pixverse.ai/error-codes-796041m0).

An answer has `ErrCode`, 0 for success, whatever its status; one page spells it `err_code`.
"""

from pixsim.core.patterns import pattern
from providers.adapters.errors import LONGEST_MESSAGE, ErrorClass, ProviderError
from providers.adapters.http import Answer, by_status

CODES = {
    **dict.fromkeys([400011, 400013, 400017, 400018, 400019, 400032], ErrorClass.INVALID_PARAMETER),
    **dict.fromkeys([500030, 500031, 500032, 500033], ErrorClass.INVALID_PARAMETER),
    **dict.fromkeys([500008, 500042, 500064], ErrorClass.INVALID_PARAMETER),
    **dict.fromkeys([400012, 500020], ErrorClass.AUTH),
    **dict.fromkeys([500041, 500069], ErrorClass.UNAVAILABLE),
    **dict.fromkeys([99999, 500100], ErrorClass.UNKNOWN),  # "Unknown error", "MySQL error"
    500044: ErrorClass.CONCURRENT_LIMIT,
    **dict.fromkeys([500052, 500054, 500063], ErrorClass.FILTERED),
    500090: ErrorClass.QUOTA,
}
"""Any other code is a refusal, whatever the status: nothing was accepted."""

find_bad_key = pattern(
    r"(?i)api-?key|token (is )?(invalid|expired)", longest=LONGEST_MESSAGE, method="search"
)
"""Message of the page of common errors for a wrong key; the page gives no code for it."""


def classify(answer: Answer) -> ProviderError | None:
    """Return the error in an answer."""
    body = answer.body
    code = body.get("ErrCode", body.get("err_code", 0))
    if code == 0:
        return None
    message = str(body.get("ErrMsg") or body.get("err_msg") or f"Error {code}.")
    found = by_status(answer, message, str(code))
    if isinstance(code, int) and code in CODES:
        found.error_class = CODES[code]
    elif find_bad_key(message):
        found.error_class = ErrorClass.AUTH
    elif found.may_have_been_accepted:
        found.error_class = ErrorClass.INVALID_PARAMETER
    return found
