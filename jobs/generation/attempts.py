"""An attempt: all that a worker needs to follow one submission without the database."""

from dataclasses import dataclass, field
from functools import cached_property

from jobs.models import Job
from jobs.queue.kinds import Work, kind_named
from providers import slots
from providers.adapters import Adapter, adapter_named
from providers.adapters.base import Credentials, Operation
from providers.credentials import credentials_of
from providers.models import ProviderSubmission


@dataclass(eq=False)
class Attempt:
    """One submission that this process works on."""

    submission: ProviderSubmission
    job: Job
    adapter: Adapter
    credentials: Credentials = field(repr=False)
    candidate: slots.Candidate | None = None
    """The account as it was chosen, if this process sends the submission."""

    @property
    def operation(self) -> Operation:
        return self.adapter.operations[self.job.operation_type]

    @cached_property
    def work(self) -> Work:
        """The job under this attempt's fencing token."""
        lease = self.submission.job_lease or 0
        kind = kind_named("generation")
        return Work(kind, self.job.pk, lease, self.job.started_at, self.job.attempt_count)


def make_attempt(
    submission: ProviderSubmission, job: Job, candidate: slots.Candidate | None = None
) -> Attempt:
    """Raise UnknownProvider or CredentialsUnreadable."""
    return Attempt(
        submission=submission,
        job=job,
        adapter=adapter_named(submission.provider_id),
        credentials=credentials_of(submission.account),
        candidate=candidate,
    )
