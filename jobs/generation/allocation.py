"""Allocation: a free slot first, then a job for it. Both commit with the submission."""

import uuid
from collections.abc import Sequence

from django.db import transaction

from jobs.generation import inputs
from jobs.generation.attempts import Attempt, make_attempt
from jobs.models import Job
from jobs.queue import api
from jobs.queue.kinds import Kind, Work
from pixsim.core.crypto import CredentialsUnreadable
from pixsim.core.db.sql import fetch
from providers import error_policy, model_dates, slots, webhooks
from providers.adapters import all_adapters
from providers.adapters.base import Request
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.params import ParamsRefused, validated
from providers.credentials import credentials_of
from providers.models import ProviderAccount, ProviderSubmission

# In the order of the claim: with EXISTS the planner may scan the table for a first row.
WITH_READY_JOBS = """
SELECT provider.name FROM unnest(%(names)s::text[]) AS provider (name)
WHERE (SELECT id FROM jobs
       WHERE provider_id = provider.name AND status = 'pending' AND ready_at IS NOT NULL
       ORDER BY priority DESC, ready_at, id LIMIT 1) IS NOT NULL
"""

# Linked to the attempt before. The payload is the job's params: what will be sent.
INSERT_SUBMISSIONS = """
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
RETURNING *
"""


def open_accounts() -> list[slots.Candidate]:
    """Return the accounts that could take a ready job now, the preferred one first."""
    providers = [row[0] for row in fetch(WITH_READY_JOBS, {"names": list(all_adapters())})]
    return slots.candidates(providers) if providers else []


@transaction.atomic
def allocate(
    kind: Kind, candidate: slots.Candidate, *, limit: int, task_id: str, wait: bool = False
) -> list[Attempt]:
    """Take up to `limit` of an account's free slots, and claim the most urgent jobs for them.

    The submissions are committed before anything is sent: an attempt that is returned must be
    sent, or it is treated as lost. Return nothing if the account is locked, unless `wait`.
    """
    account = slots.lock_account(candidate, wait=wait)
    if account is None or not _can_read_credentials(account):
        return []
    free = min(limit, candidate.max_submissions, slots.count_free_slots(account))
    if free == 0:
        return []
    works = api.claim(
        kind,
        limit=free,
        task_id=task_id,
        provider=candidate.provider_id,
        user=account.user_id if account.is_private else None,
        refused_models=list(candidate.refused_models),
    )
    if not works:
        return []
    jobs = Job.objects.in_bulk([work.id for work in works])
    return [
        make_attempt(submission, jobs[submission.job_id], candidate)
        for submission in _insert_submissions(works, account=account, choice=candidate.reason)
    ]


def _can_read_credentials(account: ProviderAccount) -> bool:
    """Return whether our keys decrypt the credentials; if not, set the account to `error`."""
    try:
        credentials_of(account)
    except CredentialsUnreadable as error:
        error_policy.apply(account.pk, ProviderError(ErrorClass.AUTH, str(error)))
        return False
    return True


def _insert_submissions(
    works: Sequence[Work], *, account: ProviderAccount, choice: str
) -> list[ProviderSubmission]:
    """Record the submissions of these jobs: from here on they occupy the account's slots."""
    params = {
        "account": account.pk,
        "choice": choice,
        "jobs": [work.id for work in works],
        "leases": [work.lease for work in works],
        "references": [f"pxs-{uuid.uuid4().hex}" for _ in works],
    }
    submissions = list(ProviderSubmission.objects.raw(INSERT_SUBMISSIONS, params))
    for submission in submissions:
        submission.account = account
    return submissions


def request_for(attempt: Attempt) -> Request:
    """Return what to send: the job's params, validated once more, with its inputs filled in.

    Raise ParamsRefused, also for a model that was shut down meanwhile, or BadInput for an input
    that does not exist any more.
    """
    job, operation = attempt.job, attempt.operation
    model = job.model or operation.default_model
    schema = operation.models[model]
    if why := model_dates.refusal(attempt.adapter, model):
        raise ParamsRefused({"model": why})
    params = validated(schema, job.params)
    # After the validation: a file's bytes may be longer than an address may be.
    params = params.model_copy(update=inputs.resolved(schema, params.canonical(), job=job))
    reference = attempt.submission.reference or ""
    return Request(
        operation=operation.name,
        model=model,
        params=params,
        reference=reference,
        webhook_url=webhooks.url_for(attempt.adapter, reference),
    )
