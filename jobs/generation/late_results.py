"""Late results: a webhook reports the success of a submission that was given up.

Its job must have failed for that reason, and must not have been retried. The job stays failed
until its files are here; then it is completed, and its cost is taken as far as credits go.
"""

from accounts import credits
from jobs import pricing
from jobs.generation.attempts import Attempt
from jobs.models import Job, JobStatus
from jobs.queue import api
from providers.adapters.errors import ErrorClass
from providers.models import ProviderSubmission, SubmissionStatus

GIVEN_UP: dict[str, str] = {
    SubmissionStatus.TIMED_OUT: ErrorClass.TIMEOUT.value,
    SubmissionStatus.FAILED: pricing.UNRESOLVED,
}
"""The status of a submission that was given up → the error class of its job. All else is final."""


def is_awaited(submission: ProviderSubmission) -> bool:
    """Lock the submission's job; return whether a late success would complete it."""
    if submission.status not in GIVEN_UP:
        return False
    job = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=submission.job_id)
    return _waits_for(job, submission) and job.error_class == GIVEN_UP[submission.status]


def reopen(attempt: Attempt) -> bool:
    """Make the job processing again, to be completed in the caller's transaction.

    Return False if it does not wait for this attempt any more.
    """
    job = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=attempt.job.pk)
    if not _waits_for(job, attempt.submission) or job.error_class not in GIVEN_UP.values():
        return False
    return api.reclaim(attempt.work)


def charge(job: Job) -> None:
    """Take the cost of a job whose hold was released, as far as its owner's credits go."""
    reference = f"{pricing.hold_reference(job)}:late"
    cost = Job.objects.values_list("cost", flat=True).get(pk=job.pk)
    if job.owner is None or not cost or job.error_class == pricing.UNRESOLVED:
        return  # an unresolved charge had its hold still, which the job's end has captured
    credits.hold(
        profile=job.owner,
        amount=0,
        description=f"{job.operation_type} by {job.provider_id}, which came late",
        reference=reference,
    )
    taken = credits.capture(reference=reference, actual=cost)
    Job.objects.filter(pk=job.pk).update(cost=taken)


def _waits_for(job: Job, submission: ProviderSubmission) -> bool:
    later = ProviderSubmission.objects.filter(job_id=job.pk, pk__gt=submission.pk)
    return job.status == JobStatus.FAILED and not later.exists()
