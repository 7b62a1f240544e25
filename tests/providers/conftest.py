from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from jobs.models import Job
from providers.models import ProviderAccount, ProviderSubmission
from tests.migrating import Walk
from tests.migrating import to_head as to_head

Migrate = Walk


@pytest.fixture
def migrate(walk: Walk) -> Migrate:
    """Bring an app to a migration (None: to zero)."""
    return walk


def execute(sql: str, *params: Any) -> Any:
    """Run `sql` and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        return cursor.fetchall() if cursor.description else None


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def account(db: None) -> ProviderAccount:
    return ProviderAccount.objects.create(provider_id="local", email="a@x.org")


@pytest.fixture
def job(user: User) -> Job:
    return Job.objects.create(user=user, operation_type="text_to_image", provider_id="local")


@pytest.fixture
def submission(account: ProviderAccount, job: Job) -> ProviderSubmission:
    return ProviderSubmission.objects.create(job=job, account=account, provider_id="local")
