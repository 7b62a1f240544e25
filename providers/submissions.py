"""The life of a submission: each state change is one conditional UPDATE, and says who won.

    pending -> accepted -> succeeded | failed | filtered | cancelled | timed_out
    pending -> unknown (the call may have reached the provider) -> any of these

A live submission (pending, accepted, unknown) occupies a slot; `next_poll_at` says when somebody
looks after it. Who takes a submission to look after it moves that time on, so a worker that dies
on the way costs that time and nothing else.
"""

from __future__ import annotations

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
from providers.models import ProviderSubmission, SubmissionStatus
from providers.models.submissions import LIVE

HANDS_SECONDS = 90.0
"""Who takes a due submission has so long before another may take it."""

TAKE_DUE = """
UPDATE provider_submissions SET
    next_poll_at = now() + make_interval(secs => %(hands)s), polls = polls + 1,
    fetches = fetches + (status = 'succeeded')::int
WHERE id = ANY(ARRAY(
    SELECT id FROM provider_submissions
    WHERE next_poll_at IS NOT NULL AND next_poll_at <= now()
    ORDER BY next_poll_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING id
"""

ANY_DUE = "SELECT 1 FROM provider_submissions WHERE next_poll_at <= now() LIMIT 1"

LEAVE_ALONE = """
UPDATE provider_submissions SET next_poll_at = NULL
WHERE id = ANY(%(ids)s) AND status <> ALL(%(live)s)
"""

END = """
UPDATE provider_submissions SET
    status = %(status)s,
    cost = %(cost)s,
    responded_at = now(),
    duration_ms = least(extract(epoch FROM now() - submitted_at) * 1000, 2147483647),
    next_poll_at = now() + make_interval(secs => %(deliver_within)s),
    response = coalesce(%(response)s, response),
    outputs = coalesce(%(outputs)s, outputs),
    provider_job_id = coalesce(%(provider_job_id)s, provider_job_id),
    error_class = coalesce(%(error_class)s, error_class),
    error_message = coalesce(%(error_message)s, error_message)
WHERE id = %(id)s AND status = ANY(%(among)s)
RETURNING id
"""

# The median of the latest real durations says better than the adapter how long it takes.
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
    """The provider took it; False if the submission has ended or was accepted already."""
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
            next_poll_at=now + timedelta(seconds=first_look(expected_seconds)),
        )
    )


def doubt(submission_id: int, *, error: ProviderError, until_seconds: float) -> bool:
    """The call may have reached the provider: look it up at once, give up after `until_seconds`."""
    now = timezone.now()
    return bool(
        ProviderSubmission.objects.filter(pk=submission_id, status=SubmissionStatus.PENDING).update(
            status=SubmissionStatus.UNKNOWN,
            error_class=error.error_class,
            error_message=str(error),
            deadline_at=now + timedelta(seconds=until_seconds),
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
    deliver: bool = False,
    among: Sequence[str] = LIVE,
) -> bool:
    """End a live submission, once: its slot is free. False if it had ended before.

    `cost` is in the provider's credits. With `deliver` it stays due, until its outputs are fetched.
    `among`: the states in which it may be, for a webhook may have said more since.
    """
    params = {
        "id": submission.pk,
        "among": [str(one) for one in among],
        "status": str(status),
        "cost": cost,
        "deliver_within": HANDS_SECONDS if deliver else None,
        "response": None if response is None else Jsonb(storable_json(response)),
        "outputs": None if outputs is None else Jsonb(storable_json(outputs)),
        "provider_job_id": provider_job_id,
        "error_class": error and str(error.error_class),
        "error_message": error and str(error),
    }
    return bool(fetch(END, params))


def look_again(submission_id: int, *, seconds: float, progress: float | None = None) -> None:
    """Nothing new: come back after `seconds`, or sooner if somebody has asked for it meanwhile."""
    changes: dict[str, Any] = {"next_poll_at": timezone.now() + timedelta(seconds=seconds)}
    if progress is not None:
        changes["progress"] = progress
    ProviderSubmission.objects.filter(pk=submission_id, next_poll_at__gt=Now()).update(**changes)


def look_now(submission_id: int, *, provider_job_id: str) -> None:
    """The provider itself says that it is time to look."""
    ProviderSubmission.objects.filter(
        pk=submission_id, provider_job_id=provider_job_id, next_poll_at__isnull=False
    ).update(next_poll_at=timezone.now())


def leave_alone(submission_ids: Sequence[int]) -> None:
    """Nothing is left to do for these."""
    fetch(LEAVE_ALONE, {"ids": list(submission_ids), "live": LIVE})


def take_due(*, limit: int) -> list[ProviderSubmission]:
    """Submissions that somebody should look after now, taken for HANDS_SECONDS."""
    ids = [row[0] for row in fetch(TAKE_DUE, {"limit": limit, "hands": HANDS_SECONDS})]
    if not ids:
        return []
    return list(ProviderSubmission.objects.filter(pk__in=ids).select_related("account", "job"))


def any_due() -> bool:
    return bool(fetch(ANY_DUE, {}))


def first_look(expected_seconds: float) -> float:
    """Seconds until the first poll: shortly before it should be done."""
    return max(0.5, 0.8 * expected_seconds)


def is_late(submission: ProviderSubmission) -> bool:
    """Whether its deadline has passed: after one last look it is over."""
    return seconds_left(submission) <= 0


def seconds_left(submission: ProviderSubmission) -> float:
    """Until its deadline; 0 if that has passed."""
    if submission.deadline_at is None:
        return 0.0
    return max(0.0, (submission.deadline_at - timezone.now()).total_seconds())


def next_look(submission: ProviderSubmission) -> float:
    """Seconds until the next poll: a tenth of how long it has been running, from 0.5 to 30."""
    return min(30.0, max(0.5, age(submission) / 10))


def age(submission: ProviderSubmission) -> float:
    """Seconds since it was accepted, or sent."""
    since = submission.accepted_at or submission.submitted_at
    return (timezone.now() - since).total_seconds()


def expected_seconds(operation: Operation, *, provider_id: str, model: str | None) -> float:
    """How long it takes: learned from real durations, else what the adapter declares."""
    params = {"provider": provider_id, "operation": operation.name, "model": model}
    [(median, samples)] = fetch(EXPECTED, params)
    return float(median) if samples >= ENOUGH_SAMPLES else operation.expected_seconds
