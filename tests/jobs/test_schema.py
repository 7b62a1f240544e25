"""Migrations of jobs with rows in the tables. The tables themselves: tests/providers."""

import pytest
from django.contrib.auth.models import User
from django.db import DataError, transaction

from jobs.models import Asset, Job
from tests.providers.conftest import Migrate, execute, migrate, to_head, user

__all__ = ["migrate", "user"]


def asset(user: User, **fields: object) -> Asset:
    return Asset.objects.create(
        user=user, media_type="video", provider_id="p", provider_asset_id="1", **fields
    )


def test_a_file_may_be_larger_than_two_gibibytes(user: User) -> None:
    asset(user, file_size_bytes=5 * 2**30)
    assert Asset.objects.get().file_size_bytes == 5 * 2**30


def test_file_sizes_survive_the_way_back_and_a_large_one_stops_it(
    migrate: Migrate, user: User
) -> None:
    small = asset(user, file_size_bytes=2**31 - 1)
    large = asset(user, file_size_bytes=2**31)
    with pytest.raises(DataError, match="out of range"):
        migrate("jobs", "0003_columns")
    execute("DELETE FROM assets WHERE id = %s", large.pk)
    migrate("jobs", "0003_columns")
    assert execute("SELECT file_size_bytes FROM assets") == [(2**31 - 1,)]
    to_head()
    assert Asset.objects.get().pk == small.pk


@pytest.mark.long
def test_jobs_that_exist_get_empty_params(migrate: Migrate, user: User) -> None:
    migrate("jobs", "0001_jobs")
    execute(
        "INSERT INTO jobs (user_id, operation_type, provider_id, priority, status, retry_count,"
        " created_at) VALUES (%s, 'fusion', 'p', 9, 'completed', 1, '2024-05-01T00:00Z')",
        user.pk,
    )
    to_head()
    job = Job.objects.get()
    assert (job.params, job.priority, job.status, job.retry_count) == ({}, 9, "completed", 1)
    assert job.created_at.year == 2024


def test_the_same_file_is_one_asset_and_assets_without_a_hash_are_many(user: User) -> None:
    asset(user)
    asset(user)
    asset(user, sha256="a" * 64)
    with transaction.atomic(), pytest.raises(Exception, match="uq_assets_user_sha256"):
        asset(user, sha256="a" * 64)
    asset(User.objects.create_user("another"), sha256="a" * 64)


def test_job_and_asset_refer_to_each_other_and_either_may_go(user: User) -> None:
    job = Job.objects.create(user=user, operation_type="text_to_image", provider_id="p")
    made = asset(user, source_job=job)
    Job.objects.filter(pk=job.pk).update(asset=made)
    job.delete()
    made.refresh_from_db()
    assert made.source_job is None
