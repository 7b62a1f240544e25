"""The addresses that machines ask: health checks and metrics. A middleware answers them.

Probes come by address and without TLS. So they are answered before anything looks at the host and the
scheme of a request, which would refuse or redirect them.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils.deprecation import MiddlewareMixin

from pixsim import health, metrics

View = Callable[[HttpRequest], HttpResponse | None]
VIEWS: dict[str, View] = {
    "/health/live": health.live,
    "/health/ready": health.ready,
    "/metrics": metrics.scraped,
}


class ProbesMiddleware(MiddlewareMixin):
    """Stands before all that look at the request. Without an answer of a view, the URLs decide."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        view = VIEWS.get(request.path_info)
        if view is None:
            return None
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = view(request)
        if response is not None:
            response["Cache-Control"] = "no-store"
        return response
