"""The addresses that machines ask: health checks. A middleware answers them.

Probes come by address and without TLS. So they are answered before anything looks at the host and the
scheme of a request, which would refuse or redirect them.
"""

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils.deprecation import MiddlewareMixin

from pixsim import health

VIEWS = {"/health/live": health.live, "/health/ready": health.ready}


class ProbesMiddleware(MiddlewareMixin):
    """Stands before all others."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        view = VIEWS.get(request.path_info)
        if view is None:
            return None
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = view(request)
        response["Cache-Control"] = "no-store"
        return response
