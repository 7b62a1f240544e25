"""Handle the webhooks of providers.

A webhook proves that a submission was accepted, and makes its next poll due. The poll decides the
outcome, so a forged webhook costs one poll at most. Only a submission that was given up is polled
no more; a webhook that reports its success makes its files due (late_results.py).
"""

from django.db import IntegrityError, transaction

from jobs.generation import result_handling
from jobs.generation.attempts import Attempt
from jobs.generation.calling import Answered
from jobs.queue.worker import notify
from providers import submissions, webhooks
from providers.adapters import adapter_named
from providers.adapters.base import Accepted, Credentials, Succeeded, WebhookEvent
from providers.adapters.errors import WebhookRefused
from providers.models import ProviderSubmission, SubmissionStatus


def handle_event(submission: ProviderSubmission, event: WebhookEvent) -> bool:
    """Handle a verified event of a submission. Return False if it was handled before.

    Raise WebhookRefused if the event belongs to another generation.
    """
    try:
        with transaction.atomic():
            if not webhooks.record_event(submission.provider_id, event.event_id):
                return False
            _apply(submission, event)
            notify.notify_on_commit()
    except IntegrityError as error:
        raise WebhookRefused("Its generation belongs to another submission.") from error
    return True


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
