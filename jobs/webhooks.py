"""Receive the webhooks of providers: POST /webhooks/PROVIDER/REFERENCE.

Only the provider knows the reference of the submission. 200: handled, or handled before; 400: not
signed by the provider, too old, or of another generation; 404: no such submission; 413: too long.
A webhook that is refused changes nothing.

A webhook proves that a submission was accepted, and makes its next poll due. The poll decides the
outcome, so a forged webhook costs one poll at most. Only a submission that was given up is polled
no more; a webhook that reports its success makes its files due (late_results.py).
"""

import logging
import time

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from jobs.generation import result_handling
from jobs.generation.attempts import Attempt
from jobs.generation.calling import Answered
from jobs.queue.worker import notify
from providers import submissions, webhooks
from providers.adapters import UnknownProvider, adapter_named
from providers.adapters.base import Accepted, Credentials, Succeeded, WebhookEvent
from providers.adapters.errors import WebhookRefused
from providers.models import ProviderSubmission, SubmissionStatus

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
        sent = ProviderSubmission.objects.select_related("job")
        submission = sent.filter(provider_id=provider, reference=reference).first()
        if submission is None:
            return _answer(404, "There is no such submission.")
        _handle(submission, event)
    except UnknownProvider:
        return _answer(404, "There is no such provider.")
    except WebhookRefused as refused:
        logger.warning("A webhook of %s was refused: %s", provider, refused)
        return _answer(400, str(refused))
    return _answer(200, "ok")


def _answer(status: int, text: str) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")


def _handle(submission: ProviderSubmission, event: WebhookEvent) -> None:
    """Handle a verified event, once. Raise WebhookRefused if it is of another generation."""
    try:
        with transaction.atomic():
            if webhooks.record_event(submission.provider_id, event.event_id):
                _apply(submission, event)
                notify.notify_on_commit()
    except IntegrityError as error:
        raise WebhookRefused("Its generation belongs to another submission.") from error


def _apply(submission: ProviderSubmission, event: WebhookEvent) -> None:
    if submission.provider_job_id not in (None, event.provider_job_id):
        raise WebhookRefused("The event belongs to another generation than this submission's.")
    if submission.status in (SubmissionStatus.PENDING, SubmissionStatus.UNKNOWN):
        # The webhook came before the answer to our call, or the answer was lost. No credentials:
        # nobody is called here.
        adapter = adapter_named(submission.provider_id)
        attempt = Attempt(submission, submission.job, adapter, Credentials())
        accepted = Accepted(event.provider_job_id, event.state.response)
        result_handling.handle_sent(attempt, Answered(accepted))
    elif isinstance(event.state, Succeeded):
        result_handling.handle_late_success(
            submission, event.state, provider_job_id=event.provider_job_id
        )
    submissions.poll_now(submission.pk, provider_job_id=event.provider_job_id)
