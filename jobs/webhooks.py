"""Receive the webhooks of providers: POST /webhooks/PROVIDER/REFERENCE.

Only the provider knows the reference of the submission. 200: handled, or handled before; 400: not
signed by the provider, too old, or of another generation; 404: no such submission; 413: too long.
A webhook that is refused changes nothing.
"""

import logging
import time

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from jobs.generation import callbacks
from providers import webhooks
from providers.adapters import UnknownProvider, adapter_named
from providers.adapters.errors import WebhookRefused
from providers.models import ProviderSubmission

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024


@csrf_exempt
@require_POST
def receive(request: HttpRequest, provider: str, reference: str) -> HttpResponse:
    """Handle a webhook of `provider` about the submission of `reference`."""
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        return _answer(413, f"A webhook may have {MAX_BODY_BYTES} bytes.")
    try:
        event = webhooks.verify(adapter_named(provider), request.headers, body, now=time.time())
        submission = (
            ProviderSubmission.objects.select_related("job")
            .filter(provider_id=provider, reference=reference)
            .first()
        )
        if submission is None:
            return _answer(404, "There is no such submission.")
        callbacks.handle_event(submission, event)
    except UnknownProvider:
        return _answer(404, "There is no such provider.")
    except WebhookRefused as refused:
        logger.warning("A webhook of %s was refused: %s", provider, refused)
        return _answer(400, str(refused))
    return _answer(200, "ok")


def _answer(status: int, text: str) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
