"""Values that no column can hold are the client's mistake: 400, wherever they come from."""

from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.views.defaults import bad_request


class BadValuesMiddleware:
    """Refuse the character NUL, what PostgreSQL says it cannot store or compare, and keys that are none.

    NUL is refused in paths and in cookies at once, since other middleware looks them up.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if any("\0" in text for text in (request.path, *request.COOKIES.values())):
            return _refused(request)
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return _refused(request) if isinstance(error, DataError | ValidationError) else None


def _refused(request: HttpRequest) -> HttpResponse:
    return bad_request(request, ValueError("The request has a value that cannot be."))
