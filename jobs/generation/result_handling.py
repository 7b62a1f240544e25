"""What an outcome does: to the submission, its job, its account and the credits.

Each function is one transaction, and every change in it is conditional, so an outcome that comes
twice, too late, or after a cancel changes nothing that it should not. What they return are outputs
that are to be fetched now.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from accounts import usage
from jobs import pricing
from jobs.generation import files, late_results
from jobs.generation.attempts import Attempt
from jobs.generation.calling import Checked, Fetched, Sent
from jobs.generation.files import MediaFile
from jobs.models import Job
from jobs.queue import transitions
from jobs.queue.errors import LeaseLost
from pixsim.core.db.sql import fetch
from providers import error_policy, submissions
from providers.adapters.base import Accepted, Failed, Output, Running, Succeeded
from providers.adapters.errors import MAY_HAVE_BEEN_ACCEPTED, ErrorClass, ProviderError
from providers.models import ProviderSubmission, SubmissionStatus
from providers.models.submissions import LIVE

logger = logging.getLogger(__name__)

MAY_HAVE_BEEN_CHARGED = (
    "The provider may have accepted it and may have charged for it, and cannot be asked. It was not "
    "sent again. Its credits stay held until somebody decides: `manage.py job {job} settle`."
)
DOUBT_SECONDS = 30.0
"""At least so long a doubtful submission keeps its slot: the provider may be at work on it."""
FIND_SECONDS = 3600.0
FIND_TRIES = 10
"""At least so long and so often a provider that could say what became of a submission is asked."""
MAX_FETCHES = 8

Made = tuple[Attempt, Sequence[MediaFile]]
"""A submission that has succeeded, and its files."""

HAS_MADE = """
UPDATE jobs SET asset_id = made.asset_id, cost = made.cost, error_class = NULL
FROM unnest(%(ids)s::int[], %(assets)s::int[], %(costs)s::int[]) AS made (id, asset_id, cost)
WHERE jobs.id = made.id AND jobs.id = ANY(%(ids)s)
"""


def sent(attempt: Attempt, outcome: Sent) -> Sequence[Output]:
    """The submit call came back."""
    match outcome.result:
        case Accepted() as accepted:
            _accepted(attempt, accepted)
        case Succeeded() as success:
            return _succeeded(attempt, success, outcome.files)
        case ProviderError() as error if error.error_class in MAY_HAVE_BEEN_ACCEPTED:
            _doubted(attempt, error)
        case ProviderError() as error:
            # Refused for sure, also if the sweeper has held it for lost meanwhile.
            _failed(attempt, error, among=[SubmissionStatus.PENDING, SubmissionStatus.UNKNOWN])
    return ()


def found(attempt: Attempt, outcome: Sent) -> Sequence[Output]:
    """A doubtful submission was looked up by our reference."""
    match outcome.result:
        case None:
            # It never arrived, and that is certain: it may be sent again.
            error = ProviderError(ErrorClass.UNAVAILABLE, "It never arrived.")
            _failed(attempt, error, among=[SubmissionStatus.UNKNOWN])
        case Accepted() as accepted:
            _accepted(attempt, accepted)
        case Succeeded() as success:
            return _succeeded(attempt, success, outcome.files)
        case ProviderError() as error:
            submission = attempt.submission
            logger.warning("Submission %s cannot be looked up: %s", submission.pk, error)
            patience = max(FIND_SECONDS, attempt.operation.deadlines.run)
            if submission.polls >= FIND_TRIES and submissions.age(submission) > patience:
                given_up(attempt)
            else:
                submissions.look_again(submission.pk, seconds=submissions.next_look(submission))
    return ()


def given_up(attempt: Attempt) -> None:
    """A doubtful submission that nobody can look up: over, not sent again, its credits held."""
    error = ProviderError(
        ErrorClass(attempt.submission.error_class or ErrorClass.UNKNOWN),
        MAY_HAVE_BEEN_CHARGED.format(job=attempt.job.pk),
    )
    with transaction.atomic():
        ours = _lock_job(attempt)
        if not submissions.end(attempt.submission, status=SubmissionStatus.FAILED, error=error):
            return
        if ours:
            _end_job(attempt, error, keep_hold=True)


def checked(attempt: Attempt, outcome: Checked) -> Sequence[Output]:
    """The provider said how a submission stands."""
    match outcome.state:
        case Running() as running:
            submissions.look_again(
                attempt.submission.pk,
                seconds=submissions.next_look(attempt.submission),
                progress=running.progress,
            )
        case Succeeded() as success:
            return _succeeded(attempt, success, outcome.files)
        case Failed() as failure if failure.cancelled:
            _cancelled(attempt, failure)
        case Failed() as failure:
            _failed(attempt, failure.error, response=dict(failure.response))
        case ProviderError() as error:
            # Not learnt now. What the account did wrong it feels; the submission goes on.
            if error.error_class is not ErrorClass.INVALID_PARAMETER:
                error_policy.visit(attempt.submission.account_id, error)
            submissions.look_again(
                attempt.submission.pk, seconds=submissions.next_look(attempt.submission)
            )
    return ()


def checked_last(attempt: Attempt, outcome: Checked) -> Sequence[Output]:
    """The last look at a submission whose time is over: anything but an end is its end, also that
    it was stopped there, for we asked for it.
    """
    match outcome.state:
        case Succeeded():
            return checked(attempt, outcome)
        case Failed() as failure if not failure.cancelled:
            return checked(attempt, outcome)
    timed_out(attempt)
    return ()


def timed_out(attempt: Attempt) -> None:
    """Its time is over and a last look found nothing new."""
    error = ProviderError(
        ErrorClass.TIMEOUT,
        f"The provider did not finish it within {attempt.operation.deadlines.run:g} s.",
    )
    with transaction.atomic():
        ours = _lock_job(attempt)
        if submissions.end(attempt.submission, status=SubmissionStatus.TIMED_OUT, error=error):
            error_policy.visit(attempt.submission.account_id, error)
            if ours:
                _end_job(attempt, error)


def fetched(attempt: Attempt, outcome: Fetched) -> Sequence[Output]:
    """The files of a submission that has succeeded are here, or not."""
    if outcome.error is None:
        delivered([(attempt, outcome.files)])
        return ()
    if not outcome.is_final and attempt.submission.fetches < MAX_FETCHES:
        submissions.look_again(attempt.submission.pk, seconds=2.0**attempt.submission.fetches)
        return ()
    with transaction.atomic():
        if _lock_job(attempt):
            _end_job(attempt, ProviderError(ErrorClass.INVALID_PARAMETER, outcome.error))
        submissions.leave_alone([attempt.submission.pk])
    return ()


def delivered(made: Sequence[Made]) -> None:
    """The files of these submissions are here: complete their jobs, in one transaction."""
    once = {attempt.submission.pk: (attempt, files) for attempt, files in made}
    made = list(once.values())  # two may have fetched the same
    with transaction.atomic():
        held = transitions.lock_leases([attempt.work for attempt, _files in made])
        tokens = {(work.id, work.lease) for work in held}
        ours = [one for one in made if (one[0].work.id, one[0].work.lease) in tokens]
        others = [one for one in made if one not in ours]
        belated = [one for one in others if late_results.reopen(one[0])]
        _complete([*ours, *belated])
        for attempt, _files in belated:
            late_results.charge(attempt.job)
        submissions.leave_alone([attempt.submission.pk for attempt, _files in made])


def not_sent(attempt: Attempt, outcome: Sent) -> Sequence[Output]:
    """What was to be sent is no longer sound, or out of our reach; the provider was not called, the
    account not to blame.
    """
    assert isinstance(outcome.result, ProviderError)  # noqa: S101 - for the type checker
    error = outcome.result
    with transaction.atomic():
        ours = _lock_job(attempt)
        if (
            submissions.end(attempt.submission, status=SubmissionStatus.FAILED, error=error)
            and ours
        ):
            _try_again_or_end(attempt, error)
    return ()


def succeeded_late(
    submission: ProviderSubmission, success: Succeeded, *, provider_job_id: str
) -> None:
    """What was given up is done there after all: its files are to be fetched."""
    with transaction.atomic():
        if late_results.is_awaited(submission):
            submissions.end(
                submission,
                status=SubmissionStatus.SUCCEEDED,
                response=success.response,
                outputs=[_recorded(output) for output in success.outputs if output.data is None],
                provider_job_id=provider_job_id,
                cost=success.cost,
                deliver=True,
                among=list(late_results.GIVEN_UP),
            )


def outputs_of(submission: ProviderSubmission) -> list[Output]:
    """The outputs that were recorded, to be fetched."""
    return [Output(**values) for values in submission.outputs or []]


# The steps


def _accepted(attempt: Attempt, accepted: Accepted) -> None:
    submission = attempt.submission
    with transaction.atomic():
        ours = _lock_job(attempt)
        submissions.accept(
            submission,
            provider_job_id=accepted.provider_job_id,
            response=accepted.response,
            expected_seconds=submissions.expected_seconds(
                attempt.operation, provider_id=submission.provider_id, model=submission.model
            ),
            run_seconds=attempt.operation.deadlines.run,
        )
        if ours:
            # No lease any more: its live submission guards it.
            Job.objects.filter(pk=attempt.job.pk).update(lease_expires_at=None)
        else:
            submissions.look_again(submission.pk, seconds=0)  # cancelled meanwhile: say so there


def _succeeded(attempt: Attempt, success: Succeeded, kept: Sequence[MediaFile]) -> Sequence[Output]:
    """Done there. With the files in hand it is done here too, else they are to be fetched; whether
    the job still wants them is asked when they are here.
    """
    with transaction.atomic() if kept else nullcontext():
        ours = bool(kept) and _lock_job(attempt)
        if not submissions.end(
            attempt.submission,
            status=SubmissionStatus.SUCCEEDED,
            response=success.response,
            outputs=[_recorded(output) for output in success.outputs if output.data is None],
            provider_job_id=success.provider_job_id,
            cost=success.cost,
            deliver=not kept,
        ):
            return ()
        error_policy.recover(attempt.submission.account)
        if ours:
            _complete([(attempt, kept)])
    return () if kept else success.outputs


def _complete(made: Sequence[Made]) -> None:
    """The jobs, which are locked, have their assets, cost what they cost, and end."""
    if not made:
        return
    assets = files.record(made)
    today = datetime.now(UTC).date()
    fetch(
        HAS_MADE,
        {
            "ids": [attempt.job.pk for attempt, _files in made],
            "assets": [assets[attempt.job.pk].pk for attempt, _files in made],
            "costs": [pricing.actual(attempt.job, files=len(kept)) for attempt, kept in made],
        },
    )
    usage.add_all(
        usage.Usage(
            attempt.job.owner_id,
            day=today,
            images_processed=len(kept),
            storage_bytes=sum(file.size for file in kept),
        )
        for attempt, kept in made
    )
    transitions.complete([attempt.work for attempt, _files in made])


def _doubted(attempt: Attempt, error: ProviderError) -> None:
    submission = attempt.submission
    expected = submissions.expected_seconds(
        attempt.operation, provider_id=submission.provider_id, model=submission.model
    )
    with transaction.atomic():
        _lock_job(attempt)
        if submissions.doubt(
            submission.pk,
            error=error,
            until_seconds=min(attempt.operation.deadlines.run, max(DOUBT_SECONDS, 3 * expected)),
        ):
            error_policy.visit(submission.account_id, error)


def _failed(
    attempt: Attempt,
    error: ProviderError,
    *,
    response: dict[str, Any] | None = None,
    among: Sequence[str] = LIVE,
) -> None:
    consequence = error_policy.CONSEQUENCES[error.error_class]
    with transaction.atomic():
        ours = _lock_job(attempt)
        if not submissions.end(
            attempt.submission,
            status=consequence.ends_as,
            error=error,
            response=response,
            among=among,
        ):
            return
        error_policy.visit(attempt.submission.account_id, error)
        if ours:
            _try_again_or_end(attempt, error)


def _try_again_or_end(attempt: Attempt, error: ProviderError) -> None:
    """As the error's class decides, within its budget of submissions."""
    consequence = error_policy.CONSEQUENCES[error.error_class]
    spent = ProviderSubmission.objects.filter(
        job_id=attempt.job.pk, reference__isnull=False, error_class=error.error_class
    ).count()
    if consequence.again_seconds is not None and spent < consequence.budget:
        transitions.wait(
            attempt.work,
            seconds=consequence.again_seconds * min(spent, 10),
            reason=f"{error.error_class}: {error}",
        )
    else:
        _end_job(attempt, error)


def _cancelled(attempt: Attempt, failure: Failed) -> None:
    with transaction.atomic():
        ours = _lock_job(attempt)
        if (
            submissions.end(
                attempt.submission,
                status=SubmissionStatus.CANCELLED,
                error=failure.error,
                response=dict(failure.response),
            )
            and ours
        ):
            _end_job(attempt, failure.error)


def _end_job(attempt: Attempt, error: ProviderError, *, keep_hold: bool = False) -> None:
    """The job fails for good. `keep_hold`: whether it cost anything, somebody must decide."""
    Job.objects.filter(pk=attempt.job.pk).update(
        error_class=pricing.UNDECIDED if keep_hold else error.error_class
    )
    transitions.fail(attempt.work, error=str(error), permanent=True)


def _lock_job(attempt: Attempt) -> bool:
    """Lock the job first of all; whether it is still this attempt's."""
    try:
        attempt.work.lock_lease()
    except LeaseLost:
        return False
    return True


def _recorded(output: Output) -> dict[str, Any]:
    values = asdict(output)
    values.pop("data")
    # Headers may hold the account's key; whoever fetches has the credentials to make them anew.
    values.pop("headers")
    return values
