"""An attempt: all that is needed to follow one submission, without the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.models import Job
from jobs.queue.kinds import kind_named
from jobs.queue.work import Work
from providers.adapters import Adapter, adapter_named
from providers.adapters.base import Credentials, Operation
from providers.models import ProviderAccount, ProviderSubmission


@dataclass(eq=False)
class Attempt:
    """One submission in this process's hands."""

    submission: ProviderSubmission
    job: Job
    adapter: Adapter
    credentials: Credentials = field(repr=False)

    @property
    def operation(self) -> Operation:
        return self.adapter.operations[self.job.operation_type]

    @property
    def work(self) -> Work:
        """The job under this attempt's fencing token."""
        return Work(kind_named("generation"), self.job.pk, self.submission.job_lease or 0)


def attempt_of(submission: ProviderSubmission) -> Attempt:
    return Attempt(
        submission=submission,
        job=submission.job,
        adapter=adapter_named(submission.provider_id),
        credentials=credentials_of(submission.account),
    )


def credentials_of(account: ProviderAccount) -> Credentials:
    """The account's secrets; a paid key is preferred to a free one."""
    cookies: Any = account.cookies  # JSON
    return Credentials(
        api_key=account.api_key_paid or account.api_key,
        email=account.email,
        password=account.password,
        jwt_token=account.jwt_token,
        cookies=cookies,
    )
