"""An attempt: all that is needed to follow one submission, without the database."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.models import Job
from jobs.queue.kinds import kind_named
from jobs.queue.work import Work
from providers import slots
from providers.adapters import Adapter, adapter_named
from providers.adapters.base import Credentials, Operation
from providers.credentials import credentials_of
from providers.models import ProviderSubmission


@dataclass(eq=False)
class Attempt:
    """One submission in this process's hands."""

    submission: ProviderSubmission
    job: Job
    adapter: Adapter
    credentials: Credentials = field(repr=False)
    candidate: slots.Candidate | None = None
    """The account as it was chosen, for one that was sent by this process."""

    @property
    def operation(self) -> Operation:
        return self.adapter.operations[self.job.operation_type]

    @property
    def work(self) -> Work:
        """The job under this attempt's fencing token."""
        return Work(kind_named("generation"), self.job.pk, self.submission.job_lease or 0)


def attempt_of(submission: ProviderSubmission, candidate: slots.Candidate | None = None) -> Attempt:
    return Attempt(
        submission=submission,
        job=submission.job,
        adapter=adapter_named(submission.provider_id),
        credentials=credentials_of(submission.account),
        candidate=candidate,
    )
