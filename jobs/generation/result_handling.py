"""Handle the outcomes of calls: change the submission, its job, its account and the credits.

Each handler is one transaction, and each of its changes is conditional, so an outcome that comes
twice, too late, or after a cancellation changes nothing. Handlers return outputs to fetch now.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from accounts import usage
from jobs import pricing
from jobs.generation import files, late_results
from jobs.generation.attempts import Attempt
from jobs.generation.calling import Answered, Fetched
from jobs.generation.files import Made
from jobs.models import Asset, Job
from jobs.queue import api
from jobs.queue.errors import LeaseLost
from pixsim.core.db.sql import fetch
from providers import error_policy, model_access, submissions
from providers.adapters.base import Accepted, Failed, Output, Running, Succeeded
from providers.adapters.errors import MAY_HAVE_BEEN_ACCEPTED, ErrorClass, ProviderError
from providers.models import LIVE, ProviderSubmission, SubmissionStatus

logger = logging.getLogger(__name__)

MAY_HAVE_BEEN_CHARGED = (
    "The provider may have accepted it and may have charged for it, and cannot be asked. It was not "
    "sent again. Its credits stay held until somebody decides: `manage.py job {job} resolve`."
)
UNKNOWN_SECONDS = 30.0
"""Shortest time that an unknown submission keeps its slot: the provider may be working on it."""
FIND_SECONDS = 3600.0
FIND_TRIES = 10
"""An unknown submission is looked up at least this long and this often before it is given up."""
MAX_FETCHES = 8

Handler = Callable[[Attempt, Any], Sequence[Output]]

RECORD_ASSETS = """
UPDATE jobs SET asset_id = made.asset_id, cost = made.cost, error_class = NULL
FROM unnest(%(ids)s::int[], %(assets)s::int[], %(costs)s::int[]) AS made (id, asset_id, cost)
WHERE jobs.id = made.id AND jobs.id = ANY(%(ids)s)
"""


def handle_sent(attempt: Attempt, outcome: Answered) -> Sequence[Output]:
    """Handle the outcome of a submit call."""
    match outcome.state:
        case Accepted() as accepted:
            _accept(attempt, accepted)
        case Succeeded() as success:
            return _succeed(attempt, success, outcome.files)
        case ProviderError() as error if error.error_class in MAY_HAVE_BEEN_ACCEPTED:
            _mark_unknown(attempt, error)
        case (ProviderError() as error) | Failed(error):
            # Certainly refused, also if the sweeper has marked the submission unknown meanwhile.
            _end(attempt, error, among=[SubmissionStatus.PENDING, SubmissionStatus.UNKNOWN])
    return ()


def handle_not_sent(attempt: Attempt, outcome: Answered) -> Sequence[Output]:
    """Handle a request that could not be made: the provider was not called."""
    assert isinstance(outcome.state, ProviderError)  # noqa: S101 - for the type checker
    _end(attempt, outcome.state, is_account_error=False)
    return ()


def handle_found(attempt: Attempt, outcome: Answered) -> Sequence[Output]:
    """Handle the outcome of looking up an unknown submission by our reference."""
    submission = attempt.submission
    match outcome.state:
        case Accepted() | Succeeded():
            return handle_sent(attempt, outcome)
        case None:
            # The provider is certain that it never arrived, so it may be sent again.
            error = ProviderError(ErrorClass.UNAVAILABLE, "It never arrived.")
            _end(attempt, error, among=[SubmissionStatus.UNKNOWN])
        case (ProviderError() as error) | Failed(error):
            logger.warning("Submission %s cannot be looked up: %s", submission.pk, error)
            patience = max(FIND_SECONDS, attempt.operation.deadlines.run)
            if submission.polls >= FIND_TRIES and submissions.age_seconds(submission) > patience:
                give_up(attempt)
            else:
                _poll_later(attempt)
    return ()


def handle_checked(attempt: Attempt, outcome: Answered) -> Sequence[Output]:
    """Handle the state of a submission."""
    match outcome.state:
        case Running() as running:
            _poll_later(attempt, progress=running.progress)
        case Succeeded() as success:
            return _succeed(attempt, success, outcome.files)
        case Failed(error, response, cancelled=True):
            _end(
                attempt,
                error,
                status=SubmissionStatus.CANCELLED,
                response=response,
                is_account_error=False,
                may_retry=False,
            )
        case Failed(error, response):
            _end(attempt, error, response=response)
        case ProviderError() as error:
            # The state is not known now. The submission goes on.
            if error.error_class is not ErrorClass.INVALID_PARAMETER:
                error_policy.apply(attempt.submission.account_id, error)
            _poll_later(attempt, at_least=error.retry_after)
    return ()


def handle_last_check(attempt: Attempt, outcome: Answered) -> Sequence[Output]:
    """Handle the last check of an overdue submission: unless it has ended, it times out.

    A cancellation counts as a timeout too, for we asked for it.
    """
    match outcome.state:
        case Succeeded() | Failed(cancelled=False):
            return handle_checked(attempt, outcome)
    time_out(attempt)
    return ()


def handle_fetched(attempt: Attempt, outcome: Fetched) -> Sequence[Output]:
    """Complete the job, or fetch again later, or fail the job when the files cannot be had."""
    submission = attempt.submission
    if outcome.error is None:
        complete_jobs([Made(attempt, outcome.files)])
    elif not outcome.is_final and submission.fetches < MAX_FETCHES:
        submissions.poll_later(submission.pk, seconds=2.0**submission.fetches)
    else:
        with transaction.atomic():
            if _lock_job(attempt):
                _fail_job(attempt, outcome.error, error_class=ErrorClass.INVALID_PARAMETER)
            submissions.stop_polling([submission.pk])
    return ()


def handle_late_success(
    submission: ProviderSubmission, success: Succeeded, *, provider_job_id: str
) -> None:
    """Make the files of a submission due that was given up and has succeeded after all."""
    with transaction.atomic():
        if late_results.is_awaited(submission):
            _end_succeeded(
                submission,
                success,
                provider_job_id=provider_job_id,
                fetch_outputs=True,
                among=list(late_results.GIVEN_UP),
            )


def give_up(attempt: Attempt, why: str = "") -> None:
    """End an unknown submission that cannot be looked up: it is not sent again, its credits stay held."""
    error = ProviderError(
        ErrorClass(attempt.submission.error_class or ErrorClass.UNKNOWN),
        f"{why} {MAY_HAVE_BEEN_CHARGED.format(job=attempt.job.pk)}".lstrip(),
    )
    _end(
        attempt,
        error,
        status=SubmissionStatus.FAILED,
        is_account_error=False,
        may_retry=False,
        job_error_class=pricing.UNRESOLVED,
    )


def time_out(attempt: Attempt) -> None:
    """End a submission that the provider did not finish before its deadline."""
    seconds = attempt.operation.deadlines.run
    error = ProviderError(
        ErrorClass.TIMEOUT, f"The provider did not finish it within {seconds:g} s."
    )
    _end(attempt, error, status=SubmissionStatus.TIMED_OUT)


def complete_jobs(made: Sequence[Made]) -> None:
    """Complete the jobs whose files are here, in one transaction."""
    # Two workers may have fetched the files of one submission.
    made = list({one.attempt.submission.pk: one for one in made}.values())
    with transaction.atomic():
        held = api.lock_leases([one.attempt.work for one in made])
        ours = [one for one in made if one.attempt.work in held]
        others = [one for one in made if one.attempt.work not in held]
        late = [one for one in others if late_results.reopen(one.attempt)]
        _complete([*ours, *late])
        for one in late:
            late_results.charge(one.attempt.job)
        submissions.stop_polling([one.attempt.submission.pk for one in made])


def recorded_outputs(submission: ProviderSubmission) -> list[Output]:
    """Return the outputs that were recorded when the submission succeeded."""
    return [Output(**values) for values in submission.outputs or []]


def _accept(attempt: Attempt, accepted: Accepted) -> None:
    submission = attempt.submission
    with transaction.atomic():
        is_ours = _lock_job(attempt)
        submissions.accept(
            submission,
            provider_job_id=accepted.provider_job_id,
            response=accepted.response,
            expected_seconds=_expected_seconds(attempt),
            run_seconds=attempt.operation.deadlines.run,
        )
        if is_ours:
            # No lease any more: the live submission guards the job.
            api.unlease(attempt.work)
        else:
            submissions.poll_later(submission.pk, seconds=0)  # cancelled: stop it at the provider


def _succeed(attempt: Attempt, success: Succeeded, kept: Sequence[Asset]) -> Sequence[Output]:
    """End the submission. Complete its job if the files are here, else return the outputs."""
    submission = attempt.submission
    with transaction.atomic():
        is_ours = bool(kept) and _lock_job(attempt)
        if not _end_succeeded(
            submission, success, provider_job_id=success.provider_job_id, fetch_outputs=not kept
        ):
            return ()
        error_policy.record_success(submission.account)
        if is_ours:
            _complete([Made(attempt, kept)])
    return () if kept else success.outputs


def _end_succeeded(submission: ProviderSubmission, success: Succeeded, **options: Any) -> bool:
    return submissions.end(
        submission,
        status=SubmissionStatus.SUCCEEDED,
        response=success.response,
        outputs=[_storable(output) for output in success.outputs if output.data is None],
        cost=success.cost,
        **options,
    )


def _mark_unknown(attempt: Attempt, error: ProviderError) -> None:
    expected = max(UNKNOWN_SECONDS, 3 * _expected_seconds(attempt))
    with transaction.atomic():
        _lock_job(attempt)
        if submissions.mark_unknown(
            attempt.submission.pk,
            error=error,
            deadline_seconds=min(attempt.operation.deadlines.run, expected),
        ):
            error_policy.apply(attempt.submission.account_id, error)


def _end(
    attempt: Attempt,
    error: ProviderError,
    *,
    status: SubmissionStatus | None = None,
    response: Mapping[str, Any] | None = None,
    among: Sequence[str] = LIVE,
    is_account_error: bool = True,
    may_retry: bool = True,
    job_error_class: str | None = None,
) -> None:
    """End the submission with `error`, and retry or fail the job as the error policy says.

    Do nothing if the submission is in none of the states `among`. `status` and `job_error_class`
    replace those of the error's class.
    """
    policy = error_policy.POLICIES[error.error_class]
    with transaction.atomic():
        is_ours = _lock_job(attempt)
        if not submissions.end(
            attempt.submission,
            status=status or policy.submission_status,
            error=error,
            response=response,
            among=among,
        ):
            return
        if is_account_error:
            _apply_to_account(attempt, error)
        if is_ours and not (may_retry and _retry(attempt, error)):
            _fail_job(attempt, str(error), error_class=job_error_class or error.error_class)


def _apply_to_account(attempt: Attempt, error: ProviderError) -> None:
    submission = attempt.submission
    if error.error_class is ErrorClass.MODEL_ACCESS and submission.model:
        model_access.record(submission.account_id, submission.model, error)
    else:
        error_policy.apply(submission.account_id, error)


def _retry(attempt: Attempt, error: ProviderError) -> bool:
    """Let the job wait for its next attempt. Return False if the error policy allows no more."""
    policy = error_policy.POLICIES[error.error_class]
    count = ProviderSubmission.objects.filter(
        job_id=attempt.job.pk, reference__isnull=False, error_class=error.error_class
    ).count()
    if policy.retry_seconds is None or count >= policy.max_submissions:
        return False
    if error.error_class is ErrorClass.MODEL_ACCESS and not model_access.is_left_to_try(
        provider=attempt.submission.provider_id,
        model=attempt.submission.model or "",
        user_id=attempt.job.user_id,
    ):
        return False
    api.wait(
        attempt.work,
        seconds=policy.retry_seconds * min(count, 10),
        reason=f"{error.error_class}: {error}",
        error_class=error.error_class,
    )
    return True


def _fail_job(attempt: Attempt, message: str, *, error_class: str) -> None:
    Job.objects.filter(pk=attempt.job.pk).update(error_class=error_class)
    api.fail(attempt.work, error=message, error_class=error_class, permanent=True)


def _complete(made: Sequence[Made]) -> None:
    """Complete jobs that are locked: record their assets, cost and usage."""
    if not made:
        return
    assets = files.record(made)
    costs = [pricing.actual(one.attempt.job, files=len(one.files)) for one in made]
    ids = [one.attempt.job.pk for one in made]
    fetch(RECORD_ASSETS, {"ids": ids, "assets": [assets[id].pk for id in ids], "costs": costs})
    today = datetime.now(UTC).date()
    usage.add_all(
        usage.Usage(
            one.attempt.job.owner_id,
            day=today,
            images_processed=len(one.files),
            storage_bytes=sum(asset.file_size_bytes or 0 for asset in one.files),
        )
        for one in made
    )
    for one in made:
        sizes = [asset.file_size_bytes or 0 for asset in one.files]
        one.attempt.work.count(files=len(sizes), bytes=sum(sizes))
    api.complete([one.attempt.work for one in made])


def _lock_job(attempt: Attempt) -> bool:
    """Lock the job before all other rows. Return False if it is not this attempt's any more."""
    try:
        attempt.work.lock_lease()
    except LeaseLost:
        return False
    return True


def _poll_later(
    attempt: Attempt, *, progress: float | None = None, at_least: float | None = None
) -> None:
    submission = attempt.submission
    seconds = submissions.next_poll_delay(submission)
    if at_least:  # but not beyond the deadline, at which the last poll ends it
        left = submissions.seconds_left(submission)
        seconds = max(seconds, min(at_least, left))
    submissions.poll_later(submission.pk, seconds=seconds, progress=progress)


def _expected_seconds(attempt: Attempt) -> float:
    submission = attempt.submission
    return submissions.expected_seconds(
        attempt.operation, provider_id=submission.provider_id, model=submission.model
    )


def _storable(output: Output) -> dict[str, Any]:
    """Return the output without its bytes, and without headers: they may hold the account's key."""
    values = asdict(output)
    del values["data"], values["headers"]
    return values
