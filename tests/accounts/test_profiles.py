"""Every user has a profile, and a tier changes once."""

import io
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections, transaction

from accounts.models import ActivityLog, NotificationPreferences, Profile
from accounts.services import change_tier, create_profile_for_user


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Run each act in a thread and connection of its own, all at once; their results in order."""
    results: list[Any] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            start.wait(timeout=10)
            results[number] = acts[number]()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[n]) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.mark.django_db
def test_createsuperuser_makes_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "x")
    call_command("createsuperuser", interactive=False, username="root", email="root@x.org")
    profile = User.objects.get(username="root").profile
    assert (profile.email, profile.role, profile.user_tier) == ("root@x.org", "admin", "FREE")


@pytest.mark.django_db
def test_the_two_steps_of_the_admins_user_form_end_with_the_persons_email_and_name(
    admin_client: Any,
) -> None:
    first = {"username": "new", "password1": "Ieth4eiv-x", "password2": "Ieth4eiv-x"}
    admin_client.post("/admin/auth/user/add/", {**first, "usable_password": "true"})
    user = User.objects.get(username="new")
    assert user.profile.email == f"user{user.pk}@users.invalid"

    user.email, user.first_name, user.last_name = "new@x.org", "Nora", "New"
    user.save()
    profile = Profile.objects.get(user=user)
    assert (profile.email, profile.full_name) == ("new@x.org", "Nora New")


@pytest.mark.django_db
def test_an_email_in_use_stays_with_its_profile_and_the_newcomer_gets_a_fallback() -> None:
    first = User.objects.create_user("first", "same@x.org")
    second = User.objects.create_user("second", "same@x.org")
    assert first.profile.email == "same@x.org"
    assert second.profile.email == f"user{second.pk}@users.invalid"

    third = User.objects.create_user("third", "third@x.org")
    third.email = "same@x.org"
    third.save()
    assert Profile.objects.get(user=third).email == f"user{third.pk}@users.invalid"


@pytest.mark.django_db
def test_an_email_is_no_proof_of_being_the_owner_of_a_profile_without_log_in() -> None:
    rich = Profile.objects.create(email="rich@x.org", user_tier="ENTERPRISE")
    user = User.objects.create_user("claimant", "rich@x.org")
    assert user.profile.pk != rich.pk
    assert user.profile.user_tier == "FREE"


@pytest.mark.django_db
def test_nobody_can_take_the_fallback_of_a_user_to_come() -> None:
    taker = User.objects.create_user("taker")
    taker.email = f"user{taker.pk + 1}@users.invalid"
    taker.save()
    victim = User.objects.create_user("victim")
    assert Profile.objects.filter(user=victim).exists()


@pytest.mark.django_db
def test_a_user_without_a_profile_has_one_after_the_next_log_in(client: Any) -> None:
    User.objects.bulk_create([User(username="bulk", email="bulk@x.org")])
    user = User.objects.get(username="bulk")
    assert not Profile.objects.filter(user=user).exists()
    client.force_login(user)
    assert Profile.objects.get(user=user).email == "bulk@x.org"


@pytest.mark.django_db
def test_a_profile_has_its_notification_preferences_and_keeps_them(admin_client: Any) -> None:
    user = User.objects.create_user("ada", "ada@x.org")
    row = NotificationPreferences.objects.get(user=user.profile)
    assert (row.email_enabled, row.marketing_enabled, row.digest_frequency) == (
        True,
        False,
        "daily",
    )
    row.digest_frequency = "never"
    row.save()
    user.save()
    assert NotificationPreferences.objects.get(user=user.profile).digest_frequency == "never"
    page = admin_client.get(f"/admin/accounts/profile/{user.profile.pk}/change/").content.decode()
    assert "email, crawl jobs, datasets, billing, security, product updates; digest never" in page


@pytest.mark.django_db
def test_a_fixture_with_users_and_profiles_loads(tmp_path: Any) -> None:
    user = User.objects.create_user("ada", "ada@x.org")
    profile = user.profile
    dump = tmp_path / "people.json"
    with dump.open("w") as stream:
        call_command("dumpdata", "auth.user", "accounts.profile", stdout=stream)
    before = profile.pk
    profile.delete()
    user.delete()
    call_command("loaddata", str(dump), stdout=io.StringIO())
    assert User.objects.get(username="ada").profile.pk == before


@pytest.mark.django_db(transaction=True)
def test_a_profile_asked_for_twice_at_once_is_made_once() -> None:
    User.objects.bulk_create([User(username="bulk", email="bulk@x.org")])
    user = User.objects.get(username="bulk")
    one, other = together(*[lambda: create_profile_for_user(user=user).pk] * 2)
    assert one == other == Profile.objects.get().pk


@pytest.mark.django_db
def test_a_change_of_tier_is_logged_with_who_did_it() -> None:
    profile, actor = (Profile.objects.create(email=f"{name}@x.org") for name in "ab")
    assert change_tier(profile=profile, tier="PRO", actor=actor, request_id="r" * 100)
    assert not change_tier(profile=profile, tier="PRO", actor=actor)
    assert Profile.objects.get(pk=profile.pk).user_tier == profile.user_tier == "PRO"
    line = ActivityLog.objects.get()
    assert (line.user, line.action) == (actor, "profile.tier_changed")
    assert (line.resource_type, line.resource_id) == ("profile", str(profile.pk))
    assert line.metadata == {"before": "FREE", "after": "PRO"}
    assert line.request_id == "r" * 64


@pytest.mark.django_db
def test_a_change_that_is_undone_leaves_no_line_in_the_log() -> None:
    profile = Profile.objects.create(email="a@x.org")
    with transaction.atomic():
        change_tier(profile=profile, tier="PRO", actor=None)
        transaction.set_rollback(True)
    assert not ActivityLog.objects.exists()


@pytest.mark.django_db
def test_a_tier_that_does_not_exist_is_refused() -> None:
    profile = Profile.objects.create(email="a@x.org")
    with pytest.raises(ValueError, match="no tier 'GOLD'; there are FREE, PRO, ENTERPRISE"):
        change_tier(profile=profile, tier="GOLD", actor=None)


@pytest.mark.django_db(transaction=True)
def test_of_the_same_change_made_at_once_by_many_one_wins_and_is_logged() -> None:
    profile = Profile.objects.create(email="a@x.org")

    def change(tier: str) -> Callable[[], bool]:
        return lambda: change_tier(
            profile=Profile.objects.get(pk=profile.pk), tier=tier, actor=None
        )

    assert sorted(together(*[change("PRO")] * 4)) == [False, False, False, True]
    assert ActivityLog.objects.count() == 1

    assert together(change("FREE"), change("ENTERPRISE")) == [True, True]
    steps = [
        (line.metadata["before"], line.metadata["after"])
        for line in ActivityLog.objects.order_by("id")
    ]
    assert all(this[1] == after[0] for this, after in itertools.pairwise(steps))
    assert steps[-1][1] == Profile.objects.get(pk=profile.pk).user_tier
