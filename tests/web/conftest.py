"""A site with one row of every table that the admin shows."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from accounts.models import (
    ActivityLog,
    CreditAccount,
    CreditTransaction,
    UsageMetrics,
)  # fmt: skip
from crawler.models import Candidate, CrawlJob, CrawlSource, Image, JobChunk, Project
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from jobs.models import Asset, Job, QueuePause, WorkAttempt, Worker, Workspace
from providers.models import ProviderAccount, ProviderCredit, ProviderSubmission

NOW = timezone.now()


@pytest.fixture
def rows(admin_user: User) -> dict[type, Any]:
    """One row of each model of the admin."""
    profile = admin_user.profile
    made = [admin_user, profile, Group.objects.create(name="group")]

    def make(model: type, **values: Any) -> Any:
        made.append(model.objects.create(**values))
        return made[-1]

    make(ActivityLog, user=profile, action="a")
    credit = CreditAccount.objects.filter(user=profile).first() or make(CreditAccount, user=profile)
    made.append(credit)
    make(
        CreditTransaction, account=credit, user=profile, amount=1, balance_after=1,
        type="bonus", description="d",
    )  # fmt: skip
    make(UsageMetrics, user=profile, metric_date=NOW.date())
    project = make(Project, name="p")
    crawl = make(CrawlJob, project=project, name="c", max_images=10)
    make(CrawlSource, job=crawl, kind="urls", location="http://127.0.0.1/")
    chunk = make(JobChunk, job=crawl, chunk_index=0, image_range={"start": 0, "end": 10})
    make(Candidate, job=crawl, url="http://127.0.0.1/a", url_key=b"k" * 32, host="h")
    make(Image, crawl_job=crawl, chunk=chunk, original_url="http://127.0.0.1/a", filename="f")
    make(Workspace, user=admin_user, name="w")
    job = make(Job, user=admin_user, operation_type="text_to_image", provider_id="local")
    make(
        Asset, user=admin_user, media_type="image", provider_id="p", provider_asset_id="1",
        remote_url="http://x", source_job=job,
    )  # fmt: skip
    attempt = {"started_at": NOW, "ended_at": NOW, "outcome": "completed"}
    make(WorkAttempt, kind="generation", item_id=job.pk, number=1, **attempt)
    make(QueuePause, scope="host", key="h")
    make(Worker, name="w@h", host="h", pid=1, processes=1, version="1")
    account = make(ProviderAccount, provider_id="local", email="a@x.org")
    make(ProviderCredit, account=account, credit_type="web", amount=5)
    make(ProviderSubmission, job=job, account=account, provider_id="local")
    return {type(row): row for row in made}


@pytest.fixture
def job(tmp_path: Any, settings: Any) -> CrawlJob:
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]
    return accepting.create_crawl_job(
        owner=None,
        name="birds",
        max_images=100,
        source_specs=[SourceSpec("folder", str(tmp_path))],
    )
