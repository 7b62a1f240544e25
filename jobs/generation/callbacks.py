"""What a webhook does: it proves that a submission was accepted, and that it is time to look.

How a submission stands, the poll decides that follows at once, by the same functions as every
poll: a webhook that is forged in a way that we cannot see could only cost a look. Only for what was
given up no poll follows by itself: a success of that is fetched (late.py).
"""

from __future__ import annotations

from django.db import IntegrityError, transaction

from jobs.generation import result_handling
from jobs.generation.attempts import Attempt
from jobs.generation.calling import Sent
from jobs.queue.worker import notify
from providers import submissions, webhooks
from providers.adapters import adapter_named
from providers.adapters.base import Accepted, Credentials, Succeeded, WebhookEvent
from providers.adapters.errors import WebhookRefused
from providers.models import ProviderSubmission, SubmissionStatus


def take(submission: ProviderSubmission, event: WebhookEvent) -> bool:
    """Take a verified event of a submission; False if it was taken before and changed nothing.

    Raises WebhookRefused if it tells of another generation than this submission's.
    """
    try:
        with transaction.atomic():
            if not webhooks.take(submission.provider_id, event.event_id):
                return False
            _told(submission, event)
            notify.ring_on_commit()
    except IntegrityError as error:
        raise WebhookRefused("Its generation belongs to another submission.") from error
    return True


def _told(submission: ProviderSubmission, event: WebhookEvent) -> None:
    if submission.provider_job_id not in (None, event.provider_job_id):
        raise WebhookRefused("It tells of another generation than this submission's.")
    if submission.status in (SubmissionStatus.PENDING, SubmissionStatus.UNKNOWN):
        # It overtook the answer to our call, or the answer never came.
        accepted = Accepted(event.provider_job_id, event.state.response)
        result_handling.sent(_attempt_of(submission), Sent(accepted))
    elif isinstance(event.state, Succeeded):
        result_handling.succeeded_late(
            submission, event.state, provider_job_id=event.provider_job_id
        )
    submissions.look_now(submission.pk, provider_job_id=event.provider_job_id)


def _attempt_of(submission: ProviderSubmission) -> Attempt:
    """Without the account's secrets: nobody is called here."""
    return Attempt(submission, submission.job, adapter_named(submission.provider_id), Credentials())
