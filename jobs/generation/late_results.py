"""Results that come after we gave up: a webhook tells of a success of what had timed out.

Such a job is still failed, for that reason and no other, and was not started anew. It stays so
until its files are here; then it is completed, and what it cost is taken as far as credits go.
"""

from __future__ import annotations

from django.utils import timezone

from accounts import credits
from jobs import pricing
from jobs.generation.attempts import Attempt
from jobs.models import Job, JobStatus
from providers.adapters.errors import ErrorClass
from providers.models import ProviderSubmission, SubmissionStatus

GIVEN_UP: dict[str, str] = {
    SubmissionStatus.TIMED_OUT: ErrorClass.TIMEOUT.value,
    SubmissionStatus.FAILED: pricing.UNRESOLVED,
}
"""How a submission that was given up ended, and its job: what the provider itself said is final."""


def is_awaited(submission: ProviderSubmission) -> bool:
    """Whether a success of this submission would still be welcome. Locks its job, in the caller's
    transaction.
    """
    if submission.status not in GIVEN_UP:
        return False
    job = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=submission.job_id)
    return _waits_for(job, submission) and job.error_class == GIVEN_UP[submission.status]


def reopen(attempt: Attempt) -> bool:
    """Take the job back in hand, to be completed in the caller's transaction; False: not any more."""
    job = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=attempt.job.pk)
    if not _waits_for(job, attempt.submission) or job.error_class not in GIVEN_UP.values():
        return False
    # With a place in the window, which `complete` gives back: else one too many would be let in.
    Job.objects.filter(pk=job.pk).update(
        status=JobStatus.PROCESSING,
        lease_id=attempt.submission.job_lease,
        ready_at=timezone.now(),
        completed_at=None,
    )
    return True


def charge(job: Job) -> None:
    """Take what a job cost whose hold was given back, as far as its owner's credits go."""
    reference = f"{pricing.hold_reference(job)}:late"
    cost = Job.objects.values_list("cost", flat=True).get(pk=job.pk)
    if job.owner is None or not cost or job.error_class == pricing.UNRESOLVED:
        return  # what is undecided holds its credits still, and the end of the job settled them
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
