"""Use is counted per person and day, to the byte."""

import uuid
from datetime import date
from decimal import Decimal

import pytest
from django.db import transaction

from accounts import usage
from accounts.models import Profile, UsageMetrics
from tests.accounts.test_profiles import together

DAY = date(2030, 1, 1)


@pytest.mark.django_db
def test_amounts_add_up_per_profile_and_day() -> None:
    ada, bob = (Profile.objects.create(email=f"{name}@x.org") for name in "ab")
    usage.add_all([usage.Usage(ada.pk, DAY, images_processed=3, bandwidth_bytes=1)])
    usage.add_all(
        [
            usage.Usage(bob.pk, DAY, images_processed=7),
            usage.Usage(ada.pk, DAY, images_processed=2, api_calls=1),
            usage.Usage(ada.pk, DAY, images_processed=5),
            usage.Usage(ada.pk, date(2030, 1, 2), api_calls=9),
        ]
    )
    rows = UsageMetrics.objects.order_by("user__email", "metric_date")
    assert list(rows.values_list("images_processed", "api_calls", "bandwidth_used_bytes")) == [
        (10, 1, 1),
        (0, 9, 0),
        (7, 0, 0),
    ]


@pytest.mark.django_db
def test_small_amounts_are_not_lost_to_the_rounding_of_gigabytes() -> None:
    profile = Profile.objects.create(email="a@x.org")
    for _ in range(100):
        usage.add_all([usage.Usage(profile.pk, DAY, bandwidth_bytes=100_000, storage_bytes=49_999)])
    row = UsageMetrics.objects.get()
    assert (row.bandwidth_used_bytes, row.bandwidth_used_gb) == (10_000_000, Decimal("0.01"))
    assert (row.storage_used_bytes, row.storage_used_gb) == (4_999_900, Decimal("0.00"))


@pytest.mark.django_db
def test_a_row_of_the_older_system_goes_on_from_its_gigabytes() -> None:
    profile = Profile.objects.create(email="a@x.org")
    UsageMetrics.objects.create(user=profile, metric_date=DAY, bandwidth_used_gb=Decimal("3.25"))
    usage.add_all([usage.Usage(profile.pk, DAY, bandwidth_bytes=10_000_001)])
    row = UsageMetrics.objects.get()
    assert (row.bandwidth_used_bytes, row.bandwidth_used_gb) == (3_260_000_001, Decimal("3.26"))


@pytest.mark.django_db
def test_the_system_is_not_counted_and_nothing_is_no_row() -> None:
    profile = Profile.objects.create(email="a@x.org")
    usage.add_all([usage.Usage(None, DAY, images_processed=3)])
    usage.add_all([usage.Usage(profile.pk, DAY)])
    assert not UsageMetrics.objects.exists()


def test_use_never_shrinks() -> None:
    with pytest.raises(ValueError, match="only grows"):
        usage.add_all([usage.Usage(uuid.uuid4(), DAY, images_processed=-1)])


@pytest.mark.django_db(transaction=True)
def test_people_named_in_any_order_by_many_at_once_do_not_deadlock() -> None:
    ids = [Profile.objects.create(email=f"{n}@x.org").pk for n in range(20)]

    def add_in(order: list[uuid.UUID]) -> None:
        for _ in range(10):
            with transaction.atomic():
                usage.add_all(usage.Usage(pk, DAY, images_processed=1) for pk in order)

    together(lambda: add_in(ids), lambda: add_in(ids[::-1]), lambda: add_in(ids[10:] + ids[:10]))
    assert set(UsageMetrics.objects.values_list("images_processed", flat=True)) == {30}
