"""Pages of errors, and what the page and a mail about one show of settings and requests.

The templates 400.html, 403.html, 403_csrf.html, 404.html and 500.html need neither a context nor the
database.
"""

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, HttpResponseServerError
from django.templatetags.static import static
from django.views import defaults
from django.views.debug import SafeExceptionReporterFilter

from pixsim.core.redaction import MASK, is_secret, redact


class Filter(SafeExceptionReporterFilter):
    """Hides what log lines hide, in addition to what Django hides."""

    cleansed_substitute = MASK

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        """Return the value to show of a setting, header or parameter, at any depth."""
        if isinstance(key, str) and is_secret(key, value):
            return MASK
        shown = super().cleanse_setting(key, value)
        return redact(shown) if isinstance(shown, str) else shown


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the page of an error of ours; as plain text where even that page cannot be made."""
    try:
        return defaults.server_error(request)
    except Exception:
        logging.getLogger(__name__).exception("The page of an error cannot be made")
        return HttpResponseServerError("The server has an error. It is logged.\n", "text/plain")


def favicon(request: HttpRequest) -> HttpResponse:
    """Return where the icon is, for browsers that ask before they have read a page."""
    return HttpResponseRedirect(static("pixsim/favicon.svg"))
