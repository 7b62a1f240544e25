"""Times of pages and forms are in the zone of whoever looks at them."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "pixsim_zone"
"""Set by `pixsim/zone.js` to the browser's zone. Without it, times are in TIME_ZONE, which is UTC."""

_names = cache(available_timezones)


class ZoneMiddleware:
    """Make the zone that the browser has named the current one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = request.COOKIES.get(COOKIE, "")
        with timezone.override(ZoneInfo(name)) if name in _names() else nullcontext():
            return self._get_response(request)
