"""The site's URLs, and addresses that fail in each way."""

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path

from pixsim.urls import handler500 as handler500
from pixsim.urls import urlpatterns as site


def failing(error: Exception) -> object:
    def fail(request: HttpRequest) -> HttpResponse:
        raise error

    return fail


urlpatterns = [
    path("fail/400", failing(BadRequest("odd"))),
    path("fail/403", failing(PermissionDenied())),
    path("fail/500", failing(RuntimeError("secret detail"))),
    *site,
]
