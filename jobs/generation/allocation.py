"""Dispatch: a free slot first, then a job for it; both, and the record of intent, commit together."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import transaction

from jobs.generation import inputs
from jobs.generation.attempts import Attempt, attempt_of
from jobs.models import Job
from jobs.queue import transitions
from jobs.queue.kinds import Kind
from jobs.queue.work import Work
from pixsim.core.crypto import CredentialsUnreadable
from pixsim.core.db.sql import fetch
from providers import error_policy, slots, webhooks
from providers.adapters import all_adapters
from providers.adapters.base import Request
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.params import validated
from providers.credentials import credentials_of
from providers.models import ProviderAccount, ProviderSubmission, SubmissionStatus

# In the order of the claim: EXISTS would let the planner read the table until it meets one.
WITH_READY_JOBS = """
SELECT provider.name FROM unnest(%(names)s::text[]) AS provider (name)
WHERE (SELECT id FROM jobs
       WHERE provider_id = provider.name AND status = 'pending' AND ready_at IS NOT NULL
       ORDER BY priority DESC, ready_at, id LIMIT 1) IS NOT NULL
"""

# The record of intent, linked to the attempt before. A job's params are what will be sent.
OCCUPY = """
INSERT INTO provider_submissions (
    job_id, account_id, provider_id, operation_type, model, payload, choice,
    job_lease, reference, submitted_at, retry_attempt, previous_submission_id)
SELECT job.id, %(account)s, job.provider_id, job.operation_type, job.model, job.params, %(choice)s,
    intent.lease, intent.reference, now(), coalesce(latest.retry_attempt + 1, 0), latest.id
FROM unnest(%(jobs)s::int[], %(leases)s::bigint[], %(references)s::text[])
    AS intent (job_id, lease, reference)
JOIN jobs job ON job.id = intent.job_id
LEFT JOIN LATERAL (
    SELECT id, retry_attempt FROM provider_submissions WHERE job_id = job.id
    ORDER BY retry_attempt DESC, id DESC LIMIT 1) latest ON TRUE
WHERE job.id = ANY(%(jobs)s)
RETURNING id, job_id, job_lease, reference, submitted_at, retry_attempt, previous_submission_id
"""


def ready_providers() -> list[str]:
    """Providers that we can call and that have jobs ready."""
    return [row[0] for row in fetch(WITH_READY_JOBS, {"names": list(all_adapters())})]


def any_slot() -> bool:
    """Whether a ready job has an account that could take it now."""
    return bool(choices())


def choices() -> list[slots.Candidate]:
    """Accounts that could take a ready job now, the preferred one first."""
    providers = ready_providers()
    return slots.candidates(providers) if providers else []


@transaction.atomic
def fill(
    kind: Kind, candidate: slots.Candidate, *, limit: int, task_id: str, wait: bool = False
) -> list[Attempt]:
    """Take up to `limit` of an account's free slots and the most urgent jobs for them.

    Nothing if somebody else is about to, unless we `wait` for them. What comes back has a committed
    record of intent and must be sent, or is settled as lost.
    """
    account = slots.lock(candidate, wait=wait)
    if account is None or not _has_secrets(account):
        return []
    room = min(limit, candidate.room, slots.free(account))
    if room == 0:
        return []
    works = transitions.claim(
        kind,
        limit=room,
        task_id=task_id,
        provider=candidate.provider_id,
        user=account.user_id if account.is_private else None,
    )
    if not works:
        return []
    submissions = _occupied(works, account=account, choice=candidate.reason)
    return [attempt_of(submission, candidate) for submission in submissions]


def _has_secrets(account: ProviderAccount) -> bool:
    """Whether its secrets can be read; if not, it is in error until somebody mends it."""
    try:
        credentials_of(account)
    except CredentialsUnreadable as error:
        error_policy.visit(account.pk, ProviderError(ErrorClass.AUTH, str(error)))
        return False
    return True


def _occupied(
    works: Sequence[Work], *, account: ProviderAccount, choice: str
) -> list[ProviderSubmission]:
    """The records of intent of these jobs: from here on the slots are taken."""
    jobs = Job.objects.in_bulk([work.id for work in works])
    params = {
        "account": account.pk,
        "choice": choice,
        "jobs": [work.id for work in works],
        "leases": [work.lease for work in works],
        "references": [f"pxs-{uuid.uuid4().hex}" for _ in works],
    }
    return [
        ProviderSubmission(
            pk=pk,
            job=jobs[job_id],
            job_lease=lease,
            account=account,
            provider_id=account.provider_id,
            operation_type=jobs[job_id].operation_type,
            model=jobs[job_id].model,
            payload=jobs[job_id].params,
            choice=choice,
            status=SubmissionStatus.PENDING,
            reference=reference,
            submitted_at=submitted_at,
            retry_attempt=attempt,
            previous_submission_id=previous,
            fetches=0,
            polls=0,
        )
        for pk, job_id, lease, reference, submitted_at, attempt, previous in fetch(OCCUPY, params)
    ]


def request_for(attempt: Attempt) -> Request:
    """What to send: the job's stored params, checked once more, with its inputs in place.

    Raises ParamsRefused, or BadInput for an input that is gone.
    """
    job, operation = attempt.job, attempt.operation
    model = job.model or operation.default_model
    schema = operation.models[model]
    params = validated(schema, job.params)
    # After the check: a file's bytes may be longer than an address may be.
    params = params.model_copy(update=inputs.resolved(schema, params.canonical(), job=job))
    reference = attempt.submission.reference or ""
    return Request(
        operation=operation.name,
        model=model,
        params=params,
        reference=reference,
        webhook_url=webhooks.url_for(attempt.adapter, reference),
    )
