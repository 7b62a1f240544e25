"""Looking at the admin as one owner."""

from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import credits, usage
from accounts.models import ActivityLog, Profile
from accounts.services import change_tier
from crawler.models import Candidate, CrawlJob, Image, JobChunk, Project
from jobs.models import Asset, Job, Workspace
from pixsim.core.admin.owned import OwnedAdmin
from providers.models import ProviderAccount, ProviderSubmission
from tests.browser import a_browser

OWNED = [model for model, each in admin.site._registry.items() if isinstance(each, OwnedAdmin)]


def list_of(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def owner_with_one_of_each(name: str) -> dict[Any, Any]:
    """Return a row of every table that an owner has, by its model."""
    user = User.objects.create_user(name, f"{name}@x.org")
    owner: Profile = user.profile
    project = Project.objects.create(name=f"project of {name}", owner=owner)
    crawl = CrawlJob.objects.create(project=project, name=f"crawl of {name}", max_images=1)
    credits.grant(profile=owner, amount=10, description="a gift", reference=f"gift to {name}")
    usage.add_all([usage.Usage(owner.pk, timezone.now().date(), images_processed=1)])
    change_tier(profile=owner, tier="PRO", actor=owner)
    account, _ = ProviderAccount.objects.get_or_create(provider_id="local", email="a@x.org")
    job = Job.objects.create(
        user=user, owner=owner, operation_type="text_to_image", provider_id="local", status="failed"
    )
    rows = [
        owner,
        project,
        crawl,
        JobChunk.objects.create(
            job=crawl, chunk_index=0, image_range={"start": 0, "end": 1}, owner=owner
        ),
        Candidate.objects.create(job=crawl, url="http://x/", url_key=b"x" * 32, host="x"),
        Image.objects.create(crawl_job=crawl, original_url="x", filename="x"),
        Workspace.objects.create(user=user, name="w"),
        job,
        Asset.objects.create(
            user=user,
            media_type="image",
            provider_id="local",
            provider_asset_id=name,
            remote_url="x",
        ),
        ProviderSubmission.objects.create(
            job=job, account=account, provider_id="local", status="failed"
        ),
        owner.credit_accounts.get(),
        owner.credit_transactions.get(),
        owner.usage_metrics.get(),
        owner.activity.get(),
    ]
    return {type(row): row for row in rows}


def look(client: Client, owner: Profile) -> Any:
    return client.post(reverse("look", args=[owner.pk]), follow=True)


@pytest.mark.django_db
def test_every_list_has_only_the_rows_of_that_owner_and_other_tables_are_not_shown(
    admin_client: Client,
) -> None:
    ada, bob = owner_with_one_of_each("ada"), owner_with_one_of_each("bob")
    assert set(ada) == set(OWNED)
    look(admin_client, ada[Profile])
    for model in OWNED:
        page = admin_client.get(list_of(model))
        assert [row.pk for row in page.context["cl"].result_list] == [ada[model].pk], model
        assert "You look as <b>ada@x.org</b>" in page.content.decode()
        assert admin_client.get(page_of(ada[model])).status_code == 200, model
        # As a row that does not exist.
        assert admin_client.get(page_of(bob[model])).status_code == 302, model
    others = [model for model in admin.site._registry if model not in OWNED]
    assert {admin_client.get(list_of(model)).status_code for model in others} == {403}
    index = admin_client.get(reverse("admin:index")).content.decode()
    assert list_of(CrawlJob) in index
    assert list_of(ProviderAccount) not in index
    for name in ("status", "tiers"):
        page = admin_client.get(reverse(name), follow=True)
        assert "That page is of everybody" in page.content.decode()
    line = ActivityLog.objects.get(action="profile.looked_at")
    assert (line.user.email, line.resource_id) == ("admin@example.com", str(ada[Profile].pk))


@pytest.mark.django_db
def test_nothing_can_be_changed_until_one_stops(admin_client: Client) -> None:
    rows = owner_with_one_of_each("ada")
    look(admin_client, rows[Profile])
    for row in rows.values():
        html = admin_client.get(page_of(row)).content.decode()
        assert 'name="_save"' not in html, row
        assert "/act/" not in html, row
        for url in (page_of(row), page_of(row).replace("/change/", "/delete/"), list_of(type(row))):
            refused = admin_client.post(url, {"post": "yes", "action": "delete_selected"})
            assert refused.status_code == 403, url
            assert "You look as ada@x.org: nothing can be changed." in refused.content.decode()
    assert 'name="action"' not in admin_client.get(list_of(JobChunk)).content.decode()
    assert admin_client.get(reverse("admin:crawler_crawljob_add")).status_code == 403
    assert look(admin_client, rows[Profile]).status_code == 403

    page = admin_client.post(reverse("look_stop"), follow=True)
    assert page.redirect_chain == [(page_of(rows[Profile]), 302)]
    assert "Look as this owner" in page.content.decode()
    assert "You look as" not in page.content.decode()
    other = owner_with_one_of_each("bob")
    assert admin_client.get(page_of(other[CrawlJob])).status_code == 200
    assert admin_client.get(reverse("status")).status_code == 200


@pytest.mark.django_db
def test_looking_gives_nobody_more_than_they_may_see(client: Client) -> None:
    ada = owner_with_one_of_each("ada")
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert look(client, ada[Profile]).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="view_profile"))
    assert client.get(reverse("look", args=[ada[Profile].pk])).status_code == 405
    look(client, ada[Profile])
    assert client.get(list_of(Profile)).status_code == 200
    assert client.get(list_of(CrawlJob)).status_code == 403
    ada[Profile].delete()  # who is gone is looked at no more
    assert client.post(reverse("look_stop")).status_code == 302


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_in_a_browser_the_switch_shows_one_owner_and_stops(live_server: Any) -> None:
    ada = owner_with_one_of_each("ada")
    owner_with_one_of_each("bob")
    client = Client()
    client.force_login(User.objects.create_superuser("boss", "boss@x.org"))
    with a_browser() as browser:
        browser.open(f"{live_server.url}/admin/login/")
        browser.cookie(settings.SESSION_COOKIE_NAME, client.cookies["sessionid"].value)
        browser.open(live_server.url + page_of(ada[Profile]))
        browser.click(".px-look")
        browser.wait_for(".px-looking")
        assert browser.texts(".px-status-link") == []
        browser.open(live_server.url + list_of(CrawlJob))
        [row] = browser.texts("#result_list tbody tr")
        assert "crawl of ada" in row
        browser.open(live_server.url + page_of(ada[CrawlJob]))
        assert browser.texts("input[name=_save], .px-buttons button") == []
        browser.click(".px-looking button")
        browser.wait_for(".px-look")
        browser.open(live_server.url + list_of(CrawlJob))
        assert len(browser.texts("#result_list tbody tr")) == 2
