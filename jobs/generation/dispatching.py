"""Dispatch: a free slot first, then a job for it; both, and the record of intent, commit together."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from jobs.generation import inputs
from jobs.generation.attempts import Attempt, attempt_of
from jobs.models import Job
from jobs.queue import transitions
from jobs.queue.kinds import Kind
from jobs.queue.sql import fetch
from jobs.queue.work import Work
from providers import slots, webhooks
from providers.adapters import all_adapters
from providers.adapters.base import Request
from providers.adapters.params import validated
from providers.models import ProviderAccount, ProviderSubmission

# In the order of the claim: EXISTS would let the planner read the table until it meets one.
WITH_READY_JOBS = """
SELECT provider.name FROM unnest(%(names)s::text[]) AS provider (name)
WHERE (SELECT id FROM jobs
       WHERE provider_id = provider.name AND status = 'pending' AND ready_at IS NOT NULL
       ORDER BY priority DESC, ready_at, id LIMIT 1) IS NOT NULL
"""

LATEST = """
SELECT DISTINCT ON (job_id) job_id, id, retry_attempt FROM provider_submissions
WHERE job_id = ANY(%(jobs)s) ORDER BY job_id, retry_attempt DESC, id DESC
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
def fill(kind: Kind, candidate: slots.Candidate, *, limit: int, task_id: str) -> list[Attempt]:
    """Take up to `limit` of an account's free slots and the most urgent jobs for them.

    Nothing if somebody else is about to. What comes back has a committed record of intent and must
    be sent, or is settled as lost.
    """
    account = slots.lock(candidate)
    room = min(limit, candidate.room, slots.free(account)) if account else 0
    if account is None or room == 0:
        return []
    works = transitions.claim(
        kind,
        limit=room,
        task_id=task_id,
        provider=candidate.provider_id,
        user=candidate.user_id,
    )
    if not works:
        return []
    jobs = Job.objects.in_bulk([work.id for work in works])
    submissions = slots.occupy(_intents(works, jobs, account=account, choice=candidate.reason))
    for submission in submissions:
        submission.job, submission.account = jobs[submission.job_id], account
    return [attempt_of(submission, candidate) for submission in submissions]


def _intents(
    works: Sequence[Work], jobs: dict[int, Job], *, account: ProviderAccount, choice: str
) -> list[ProviderSubmission]:
    rows = fetch(LATEST, {"jobs": [work.id for work in works]})
    latest = {job_id: (submission_id, attempt) for job_id, submission_id, attempt in rows}
    intents = []
    for work in works:
        job = jobs[work.id]
        previous, attempt = latest.get(job.pk, (None, -1))
        intents.append(
            ProviderSubmission(
                job_id=job.pk,
                account_id=account.pk,
                provider_id=account.provider_id,
                retry_attempt=attempt + 1,
                previous_submission_id=previous,
                reference=f"pxs-{uuid.uuid4().hex}",
                submitted_at=timezone.now(),
                job_lease=work.lease,
                operation_type=job.operation_type,
                model=job.model,
                payload=job.params,
                choice=choice,
            )
        )
    return intents


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
