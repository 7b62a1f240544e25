"""People by tier, over time and against their limits: the admin's page and `manage.py tiers`."""

import io
import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from accounts import credits
from accounts.models import ActivityLog, Profile, UsageMetrics
from accounts.services import change_tier
from crawler.models import CrawlJob, Project
from pixsim import tiers

pytestmark = pytest.mark.django_db
PAGE = reverse("tiers")


def person(name: str, *, days_ago: int = 0, tier: str = "FREE") -> Profile:
    profile: Profile = User.objects.create_user(name, f"{name}@x.org").profile
    created = timezone.now() - timedelta(days=days_ago)
    Profile.objects.filter(pk=profile.pk).update(created_at=created, user_tier=tier)
    profile.refresh_from_db()
    return profile


def changed(profile: Profile, tier: str, *, days_ago: int, actor: Profile | None = None) -> None:
    change_tier(profile=profile, tier=tier, actor=actor)
    line = ActivityLog.objects.latest("id")
    ActivityLog.objects.filter(pk=line.pk).update(
        timestamp=timezone.now() - timedelta(days=days_ago)
    )


def tiers_json(*words: str) -> Any:
    out = io.StringIO()
    call_command("tiers", "--json", *words, stdout=out)
    return json.loads(out.getvalue())


def test_people_are_counted_back_through_the_changes_of_their_tiers() -> None:
    ada, bob = person("ada", days_ago=100), person("bob", days_ago=20)
    person("eve", days_ago=5, tier="PRO")
    changed(ada, "PRO", days_ago=12)
    changed(ada, "ENTERPRISE", days_ago=8)
    changed(bob, "ENTERPRISE", days_ago=3)
    changed(bob, "FREE", days_ago=1)
    gone = person("gone", days_ago=50)
    changed(gone, "PRO", days_ago=2)
    gone.delete()

    points = [tuple(people.values()) for _, people in tiers.people_over_time("day")]

    days_ago = dict(zip(reversed(range(30)), points, strict=True))
    assert days_ago[29] == days_ago[21] == (1, 0, 0)  # ada
    assert days_ago[20] == days_ago[13] == (2, 0, 0)  # and bob
    assert days_ago[12] == days_ago[9] == (1, 1, 0)
    assert days_ago[8] == days_ago[6] == (1, 0, 1)
    assert days_ago[5] == days_ago[4] == (1, 1, 1)  # and eve, PRO from her first day
    assert days_ago[3] == days_ago[2] == (0, 1, 2)
    assert days_ago[1] == days_ago[0] == (1, 1, 1)
    assert tiers_json("--by", "week")["over_time"][-1]["people"] == {
        "FREE": 1,
        "PRO": 1,
        "ENTERPRISE": 1,
    }


def test_use_is_shown_against_each_limit_and_by_tier(admin_client: Client) -> None:
    ada, bob = person("ada"), person("bob", tier="PRO")
    project = Project.objects.create(name="p", owner=ada)
    Project.objects.create(name="q", owner=ada)
    Project.objects.create(name="r", owner=bob)
    Project.objects.create(name="of the system")
    CrawlJob.objects.create(project=project, name="j", max_images=10, status="running")
    today = timezone.now().date()
    for days, images in ((0, 5), (29, 7), (30, 100)):
        UsageMetrics.objects.create(
            user=ada,
            metric_date=today - timedelta(days=days),
            images_processed=images,
            bandwidth_used_bytes=1000,
        )
    credits.grant(profile=bob, amount=50, description="a gift", reference="gift")
    credits.hold(profile=bob, amount=20, description="a job", reference="job:1")

    told = tiers_json()

    use = {(each["tier"], each["what"]): each for each in told["use"]}
    free, pro = use["FREE", "open crawl jobs"], use["PRO", "projects"]
    assert (free["limit"], free["allowed"], free["people"], free["at_limit"]) == (
        "concurrent_jobs", 1, 1, 1,
    )  # fmt: skip
    assert (free["most"], free["most_by"]) == (1, "ada@x.org")
    assert use["FREE", "crawl jobs of today"]["most"] == 1
    assert use["FREE", "projects"]["most"] == 2
    assert (pro["people"], pro["most"], pro["at_limit"], pro["allowed"]) == (1, 1, 0, 10)
    assert use["ENTERPRISE", "chunk items ready or processing"]["people"] == 0
    page = admin_client.get(PAGE).content.decode()
    for tier, uses, number, people in (
        ("FREE", "projects", 1, [ada]),
        ("FREE", "open crawl jobs, at the limit", 1, [ada]),
        ("PRO", "projects", 1, [bob]),
    ):
        query = urlencode({"user_tier__exact": tier, "uses": uses})
        url = f"/admin/accounts/profile/?{query}"
        assert f'<a href="{escape(url)}">{number}</a>' in page
        assert list(admin_client.get(url).context["cl"].result_list) == people
    full = {"uses": "projects, at the limit"}
    assert not admin_client.get("/admin/accounts/profile/", full).context["cl"].result_count
    totals = {each.pop("tier"): each for each in told["tiers"]}
    assert totals["FREE"] == {"people": 2, "images": 12, "traffic_bytes": 2000, "credits": 0}
    assert totals["PRO"] == {"people": 1, "images": 0, "traffic_bytes": 0, "credits": 20}


def test_the_page_names_who_changed_whose_tier_and_its_numbers_are_links(
    admin_client: Client, admin_user: User, django_assert_num_queries: Any
) -> None:
    ada = person("ada", days_ago=40)
    changed(ada, "PRO", days_ago=2, actor=admin_user.profile)
    page = admin_client.get(PAGE, {"by": "day"}).content.decode()
    assert '<a href="/admin/accounts/profile/?user_tier__exact=PRO">1</a>' in page
    row = page[page.index(">ada@x.org</a>") :]
    assert "<td>FREE</td><td>PRO</td><td>admin@example.com</td>" in row[: row.index("</tr>")]
    assert admin_client.get("/admin/accounts/profile/?user_tier__exact=PRO").status_code == 200
    log = admin_client.get("/admin/accounts/activitylog/?q=profile.tier_changed").content.decode()
    assert "1 activity log" in log
    assert f'href="{PAGE}"' in admin_client.get(reverse("admin:index")).content.decode()

    with connection.execute_wrapper(counted := Counted()):
        admin_client.get(PAGE)
    for number in range(20):
        changed(person(f"p{number}", days_ago=number), "PRO", days_ago=0, actor=ada)
    with django_assert_num_queries(counted.number):
        admin_client.get(PAGE)


class Counted:
    number = 0

    def __call__(self, execute: Any, *args: Any) -> Any:
        self.number += 1
        return execute(*args)


def test_only_who_may_see_people_sees_the_page(client: Client) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert client.get(PAGE).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="view_profile"))
    assert client.get(PAGE).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="others_work"))
    assert client.get(PAGE).status_code == 200
