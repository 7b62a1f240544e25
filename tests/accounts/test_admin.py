"""What people who look after this see and do."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client

from accounts.admin import ProfileColumn
from accounts.models import ActivityLog, Profile
from tests.admin_forms import sent

pytestmark = pytest.mark.django_db
PROFILES = "/admin/accounts/profile/"


@pytest.fixture
def people() -> list[Profile]:
    return [Profile.objects.create(email=f"p{n:02}@x.org") for n in range(30)]


def test_every_list_and_form_of_this_app_opens(admin_client: Client, admin_user: User) -> None:
    profile = admin_user.profile
    ActivityLog.objects.create(user=profile, action="a")
    for model in [m for m in admin.site._registry if m._meta.app_label == "accounts"]:
        url = f"/admin/accounts/{model._meta.model_name}/"
        assert admin_client.get(url, {"q": "admin"}).status_code == 200
        for row in model.objects.all():
            assert admin_client.get(f"{url}{row.pk}/change/").status_code == 200


def test_tables_that_no_code_uses_yet_are_not_in_the_admin(admin_client: Client) -> None:
    shown = {model._meta.model_name for model in admin.site._registry}
    assert shown.isdisjoint({"apikey", "notification", "notificationpreferences"})
    assert b"Notification" not in admin_client.get("/admin/accounts/").content
    assert admin_client.get("/admin/accounts/apikey/").status_code == 404


def test_the_list_of_profiles_shows_tier_and_window_without_a_query_per_row(
    admin_client: Client, people: list[Profile], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(6):
        page = admin_client.get(PROFILES, {"q": "p1", "user_tier__exact": "FREE"}).content.decode()
    assert page.count('class="field-window"') == 10


def test_a_higher_layer_can_add_a_column_filled_by_one_query_per_page(
    admin_client: Client, people: list[Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []

    def values(ids: Any) -> dict[Any, str]:
        pages.append(list(ids))
        return {people[0].pk: "5 of 6"}

    column = ProfileColumn("work", "work in the window", values)
    monkeypatch.setattr("accounts.admin.PROFILE_COLUMNS", [column])
    page = admin_client.get(PROFILES).content.decode()
    assert "5 of 6" in page
    assert "Work in the window" in page
    assert [len(ids) for ids in pages] == [31]


def test_the_action_changes_tiers_and_logs_each(
    admin_client: Client, admin_user: User, people: list[Profile]
) -> None:
    people[0].user_tier = "PRO"
    people[0].save()
    answer = admin_client.post(
        PROFILES,
        {"action": "change_tier_to_pro", "_selected_action": [p.pk for p in people[:3]]},
        follow=True,
    )
    assert "2 changed to PRO, 1 had it already." in answer.content.decode()
    assert Profile.objects.by_tier("PRO").count() == 3
    lines = ActivityLog.objects.filter(action="profile.tier_changed")
    assert {line.user for line in lines} == {admin_user.profile}
    assert {line.resource_id for line in lines} == {str(p.pk) for p in people[1:3]}


def test_an_edit_of_the_tier_in_the_form_is_logged_too(
    admin_client: Client, people: list[Profile]
) -> None:
    url = f"{PROFILES}{people[0].pk}/change/"
    forged = {"email": "forged@x.org", "role": "admin"}
    given = sent(admin_client.get(url), user_tier="ENTERPRISE", **forged)
    answer = admin_client.post(url, given)
    assert answer.status_code == 302
    changed = Profile.objects.get(pk=people[0].pk)
    assert (changed.user_tier, changed.email, changed.role) == ("ENTERPRISE", "p00@x.org", "user")
    assert ActivityLog.objects.get().metadata == {"before": "FREE", "after": "ENTERPRISE"}

    admin_client.post(url, sent(admin_client.get(url), avatar_url="https://x.org/a.png"))
    logged = ActivityLog.objects.order_by("id").values_list("action", flat=True)
    assert list(logged) == ["profile.tier_changed", "profile.changed"]
    assert Profile.objects.get(pk=people[0].pk).avatar_url == "https://x.org/a.png"


def test_who_may_only_look_cannot_change_a_tier(client: Client, people: list[Profile]) -> None:
    viewer = User.objects.create_user("viewer", "viewer@x.org", "x", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_profile"))
    client.force_login(viewer)
    chosen = [people[0].pk]
    client.post(PROFILES, {"action": "change_tier_to_pro", "_selected_action": chosen})
    client.post(f"{PROFILES}{people[0].pk}/change/", {"user_tier": "PRO"})
    assert Profile.objects.by_tier("PRO").count() == 0


def test_the_log_can_be_read_and_not_changed(admin_client: Client) -> None:
    line = ActivityLog.objects.create(action="a")
    url = f"/admin/accounts/activitylog/{line.pk}"
    assert admin_client.post(f"{url}/change/", {"action": "b"}).status_code == 403
    assert admin_client.post(f"{url}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get("/admin/accounts/activitylog/add/").status_code == 403
    assert ActivityLog.objects.get().action == "a"
