"""The states of a submission. Each change is one conditional UPDATE and returns whether it happened.

    pending -> accepted -> succeeded | failed | filtered | cancelled | timed_out
    pending -> unknown (the call may have reached the provider) -> any of these

A live submission (pending, accepted, unknown) occupies a slot. `next_poll_at` is the time of its
next poll; a worker that claims the submission moves that time on, so the submission is polled again
if that worker dies.

A submission's job is known here by its id only.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone
from psycopg.types.json import Jsonb

from pixsim.core.db.sql import fetch
from pixsim.core.text import storable_json
from providers.adapters.base import Operation
from providers.adapters.errors import ProviderError
from providers.models import LIVE, ProviderSubmission, SubmissionStatus

CLAIM_SECONDS = 90.0
"""For how long no other worker may claim a due submission."""

CLAIM_DUE = """
UPDATE provider_submissions SET
    next_poll_at = now() + make_interval(secs => %(claim)s), polls = polls + 1,
    fetches = fetches + (status = 'succeeded')::int
WHERE id = ANY(ARRAY(
    SELECT id FROM provider_submissions
    WHERE next_poll_at IS NOT NULL AND next_poll_at <= now()
    ORDER BY next_poll_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING id
"""

ANY_DUE = "SELECT 1 FROM provider_submissions WHERE next_poll_at <= now() LIMIT 1"

STOP_POLLING = """
UPDATE provider_submissions SET next_poll_at = NULL
WHERE id = ANY(%(ids)s) AND status <> ALL(%(live)s)
"""

END = """
UPDATE provider_submissions SET
    status = %(status)s,
    cost = %(cost)s,
    responded_at = now(),
    duration_ms = least(extract(epoch FROM now() - submitted_at) * 1000, 2147483647),
    next_poll_at = now() + make_interval(secs => %(fetch_within)s),
    response = coalesce(%(response)s, response),
    outputs = coalesce(%(outputs)s, outputs),
    provider_job_id = coalesce(%(provider_job_id)s, provider_job_id),
    error_class = coalesce(%(error_class)s, error_class),
    error_message = coalesce(%(error_message)s, error_message)
WHERE id = %(id)s AND status = ANY(%(among)s)
RETURNING id
"""

# The median of the latest durations; the adapter declares only an estimate.
EXPECTED = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms)::float8 / 1000, count(*)
FROM (SELECT duration_ms FROM provider_submissions
      WHERE provider_id = %(provider)s AND reference IS NOT NULL AND status = 'succeeded'
        AND operation_type = %(operation)s AND model IS NOT DISTINCT FROM %(model)s
        AND submitted_at > now() - interval '7 days'
      ORDER BY submitted_at DESC LIMIT 50) latest
"""
ENOUGH_SAMPLES = 5


def accept(
    submission: ProviderSubmission,
    *,
    provider_job_id: str,
    response: Mapping[str, Any],
    expected_seconds: float,
    run_seconds: float,
) -> bool:
    """Mark the submission accepted. Return False if it had ended or was accepted already."""
    now = timezone.now()
    return bool(
        ProviderSubmission.objects.filter(
            pk=submission.pk, status__in=[SubmissionStatus.PENDING, SubmissionStatus.UNKNOWN]
        ).update(
            status=SubmissionStatus.ACCEPTED,
            provider_job_id=provider_job_id,
            response=storable_json(response),
            accepted_at=now,
            deadline_at=now + timedelta(seconds=run_seconds),
            next_poll_at=now + timedelta(seconds=first_poll_delay(expected_seconds)),
        )
    )


def mark_unknown(submission_id: int, *, error: ProviderError, deadline_seconds: float) -> bool:
    """Record that the call may have reached the provider: poll at once, until `deadline_seconds`.

    Return False if the submission was not pending any more.
    """
    now = timezone.now()
    return bool(
        ProviderSubmission.objects.filter(pk=submission_id, status=SubmissionStatus.PENDING).update(
            status=SubmissionStatus.UNKNOWN,
            error_class=error.error_class,
            error_message=str(error),
            deadline_at=now + timedelta(seconds=deadline_seconds),
            next_poll_at=now,
        )
    )


def end(
    submission: ProviderSubmission,
    *,
    status: SubmissionStatus,
    response: Mapping[str, Any] | None = None,
    error: ProviderError | None = None,
    outputs: Sequence[Mapping[str, Any]] | None = None,
    provider_job_id: str | None = None,
    cost: float | None = None,
    fetch_outputs: bool = False,
    among: Sequence[str] = LIVE,
) -> bool:
    """End a submission that is in one of the states `among`; its slot is free then.

    Return False if it was in another state. `cost` is in the provider's credits. With
    `fetch_outputs` the submission stays due until its outputs are fetched.
    """
    params = {
        "id": submission.pk,
        "among": [str(one) for one in among],
        "status": str(status),
        "cost": cost,
        "fetch_within": CLAIM_SECONDS if fetch_outputs else None,
        "response": None if response is None else Jsonb(storable_json(response)),
        "outputs": None if outputs is None else Jsonb(storable_json(outputs)),
        "provider_job_id": provider_job_id,
        "error_class": error and str(error.error_class),
        "error_message": error and str(error),
    }
    return bool(fetch(END, params))


def poll_later(submission_id: int, *, seconds: float, progress: float | None = None) -> None:
    """Poll after `seconds`, unless a webhook has made the submission due meanwhile."""
    changes: dict[str, Any] = {"next_poll_at": timezone.now() + timedelta(seconds=seconds)}
    if progress is not None:
        changes["progress"] = progress
    ProviderSubmission.objects.filter(pk=submission_id, next_poll_at__gt=Now()).update(**changes)


def poll_now(submission_id: int, *, provider_job_id: str) -> None:
    """Make the submission due, if it is polled at all."""
    ProviderSubmission.objects.filter(
        pk=submission_id, provider_job_id=provider_job_id, next_poll_at__isnull=False
    ).update(next_poll_at=timezone.now())


def stop_polling(submission_ids: Sequence[int]) -> None:
    """Poll these submissions no more, except those that are live."""
    fetch(STOP_POLLING, {"ids": list(submission_ids), "live": LIVE})


def claim_due(*, limit: int) -> list[ProviderSubmission]:
    """Claim due submissions for CLAIM_SECONDS; return them with their accounts."""
    ids = [row[0] for row in fetch(CLAIM_DUE, {"limit": limit, "claim": CLAIM_SECONDS})]
    if not ids:
        return []
    return list(ProviderSubmission.objects.filter(pk__in=ids).select_related("account"))


def any_due() -> bool:
    """Return whether a submission is due."""
    return bool(fetch(ANY_DUE, {}))


def first_poll_delay(expected_seconds: float) -> float:
    """Return the seconds until the first poll: shortly before the expected end."""
    return max(0.5, 0.8 * expected_seconds)


def is_overdue(submission: ProviderSubmission) -> bool:
    """Return whether the deadline has passed: the next poll is the last one."""
    return seconds_left(submission) <= 0


def seconds_left(submission: ProviderSubmission) -> float:
    """Return the seconds until the deadline; 0 if it has passed."""
    if submission.deadline_at is None:
        return 0.0
    return max(0.0, (submission.deadline_at - timezone.now()).total_seconds())


def next_poll_delay(submission: ProviderSubmission) -> float:
    """Return the seconds until the next poll: a tenth of the time since acceptance, from 0.5 to 30."""
    return min(30.0, max(0.5, age_seconds(submission) / 10))


def age_seconds(submission: ProviderSubmission) -> float:
    """Return the seconds since the submission was accepted, or else sent."""
    since = submission.accepted_at or submission.submitted_at
    return (timezone.now() - since).total_seconds()


def expected_seconds(operation: Operation, *, provider_id: str, model: str | None) -> float:
    """Return how long the operation takes: the median of past durations, or what the adapter says."""
    params = {"provider": provider_id, "operation": operation.name, "model": model}
    [(median, samples)] = fetch(EXPECTED, params)
    return float(median) if samples >= ENOUGH_SAMPLES else operation.expected_seconds
