"""Generations for tests: a fake provider over real HTTP, and a worker in this process."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as project_settings
from django.contrib.auth.models import User
from django.db import connection

import tests.providers.adapters.simple_adapter  # noqa: F401 - registers `simple`
from accounts import credits
from accounts.models import Profile
from jobs import services
from jobs.models import Job
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.loop import run_worker_loop
from jobs.queue.worker.sweeper import Sweeper
from providers.adapters import all_adapters
from providers.models import ProviderAccount
from tests.providers.adapters.simple_fake import SimpleFake
from tests.queue_guard import edits_by_hand

all_adapters.cache_clear()

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def blob_folder(settings, tmp_path):
    folder = tmp_path / "blobs"
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(folder)},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    return folder


@pytest.fixture
def fake(settings, blob_folder) -> Iterator[SimpleFake]:
    with SimpleFake() as server:
        settings.PROVIDER_BASE_URLS = {"simple": server.base_url}
        settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
        yield server


@pytest.fixture
def make_account() -> Callable[..., ProviderAccount]:
    def make(name: str = "1", slots: int = 2, **values: object) -> ProviderAccount:
        return ProviderAccount.objects.create(
            provider_id="simple",
            email=f"account-{name}@example.org",
            api_key=f"test-key-{name}",
            max_concurrent_jobs=slots,
            **values,
        )

    return make


@pytest.fixture
def account(make_account) -> ProviderAccount:
    return make_account()


@pytest.fixture
def ada() -> Profile:
    """A PRO with a thousand credits: a picture costs two."""
    profile = Profile.objects.get(user=User.objects.create_user("ada", "ada@example.org"))
    Profile.objects.filter(pk=profile.pk).update(user_tier="PRO")
    credits.grant(profile=profile, amount=1000, description="a gift", reference="gift")
    return Profile.objects.get(pk=profile.pk)


def ask(owner: Profile | None = None, prompt: str = "a red panda", **values: object) -> Job:
    values.setdefault("operation", "text_to_image")
    return services.create_job(owner=owner, provider="simple", params={"prompt": prompt}, **values)


def work(until: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Be a worker until `until` is true: sweep and drain, as its two processes do."""
    sweeper = Sweeper(FallbackWorkers(size=1))
    ends = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < ends, "it did not happen in time"
        sweeper.sweep()
        run_worker_loop(task_id="test", slice_seconds=0.2)


def ended(*jobs: Job) -> Callable[[], bool]:
    """Whether these jobs have ended."""
    ids = [job.pk for job in jobs]
    return lambda: not Job.objects.filter(pk__in=ids, status__in=["pending", "processing"]).exists()


def finish(*jobs: Job, seconds: float = 20.0) -> Job:
    """Work until the jobs have ended; the first of them as it is then."""
    work(ended(*jobs), seconds=seconds)
    return Job.objects.get(pk=jobs[0].pk)


def hurry(*, accounts: bool = False) -> None:
    """Let what waits for its time be due now, and with `accounts` those that rest be back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE provider_submissions SET next_poll_at = now() WHERE next_poll_at IS NOT NULL"
        )
        with edits_by_hand():
            cursor.execute("UPDATE jobs SET available_at = now() WHERE available_at IS NOT NULL")
        if accounts:
            cursor.execute("UPDATE provider_accounts SET cooldown_until = NULL")


def database_url() -> str:
    """This test's database, for another process."""
    database = connection.settings_dict
    user = database["USER"] + (f":{database['PASSWORD']}" if database["PASSWORD"] else "")
    if os.path.isabs(database["HOST"]):
        return f"postgres://{user}@/{database['NAME']}?host={database['HOST']}"
    return f"postgres://{user}@{database['HOST']}:{database['PORT']}/{database['NAME']}"


def worker_environment(fake: SimpleFake, blob_folder: Path, home: Path) -> dict[str, str]:
    """For a worker in a process of its own, with this test's database, provider and blobs."""
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "pixsim.settings",
        "PIXSIM_ENV_FILE": str(home / "none"),
        "PIXSIM_HOME": str(home),
        "PIXSIM_BLOBS": str(blob_folder),
        "DATABASE_URL": database_url(),
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "PROVIDER_BASE_URLS": f'{{"simple": "{fake.base_url}"}}',
        "CRAWL_ALLOWED_PRIVATE": "127.0.0.0/8",
        "CREDENTIALS_KEYS": ",".join(project_settings.CREDENTIALS_KEYS),
        "QUEUE_LEASE_SECONDS": "2",
    }
