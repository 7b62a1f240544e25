"""Every page can be read and used: with long names, on a telephone, by keyboard, in both themes."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import Profile
from crawler.models import CrawlJob, Project
from pixsim.core.admin.display import TONES, badge
from providers.models import ProviderAccount
from tests.web import browser, pages
from tests.web.test_admin_filters import list_of

pytestmark = [
    pytest.mark.skipif(not browser.is_there(), reason="needs chromium and chromedriver"),
    pytest.mark.django_db(transaction=True),
]
OTHER_WORDS = (
    '<p class="px-bad-text">a</p><p class="px-quiet-text">b</p><span class="px-tier">FREE</span>'
    '<div class="px-tile px-tile-bad"><b>3</b><span>failed</span></div>'
    '<section class="px-panel"><p class="px-bad-text">c</p><p class="px-problem">d</p>'
    '<p class="px-hint">e <a href="/admin/">f</a></p></section>'
)

WAIT = """
const done = arguments[arguments.length - 1];
const look = () => document.querySelector("{}") ? done(true) : setTimeout(look, 50);
look();
"""


@pytest.fixture
def chromium(admin_client: Client, live_server: Any, rows: Any) -> Any:
    pages.write_long_names(rows)
    with browser.Browser() as chromium:
        chromium.before_each_page(pages.AXE)
        chromium.open(f"{live_server.url}/admin/login/")
        chromium.faults_of_login = pages.faults(chromium)
        chromium.set_cookie("sessionid", admin_client.cookies["sessionid"].value)
        yield chromium


def test_words_of_every_colour_and_the_page_of_a_crawl_can_be_read(
    chromium: browser.Browser, live_server: Any, rows: Any
) -> None:
    chromium.open(
        live_server.url + reverse("admin:crawler_crawljob_change", args=[rows[CrawlJob].pk])
    )
    words = "".join(badge(tone, tone) for tone in sorted(set(TONES.values())))
    chromium.run(
        f"document.querySelector('#content').insertAdjacentHTML('beforeend', `{words}{OTHER_WORDS}`)"
    )
    assert pages.faults(chromium) == []


@pytest.mark.long
def test_nothing_is_wrong_with_any_page(
    chromium: Any, live_server: Any, rows: Any, admin_client: Client
) -> None:
    found = {"log in": chromium.faults_of_login}
    visited = 0
    for page in pages.all_pages(rows):
        if admin_client.get(page).status_code == 200:
            visited += 1
            chromium.open(live_server.url + page)
            found[page] = pages.faults(chromium)
    assert visited > 70
    assert {page: faults for page, faults in found.items() if faults} == {}


@pytest.mark.long
def test_nothing_is_wrong_with_pages_that_refuse_or_ask(
    chromium: Any, live_server: Any, rows: Any
) -> None:
    """Forms with errors, an action's confirmation, the home of who may see nothing, the last page."""
    found = {}
    for model, wrong in ((ProviderAccount, "email"), (User, "username"), (CrawlJob, "name")):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        chromium.open(live_server.url + reverse(f"{name}_add"))
        chromium.run(
            f"const form = document.querySelector('#{model._meta.model_name}_form');"
            f"form.noValidate = true; form.elements['{wrong}'].value = '';"
            "setTimeout(() => form.querySelector('[name=_save]').click());"
        )
        chromium.wait_for(WAIT.format(".errornote"))
        found[f"{wrong} of {model.__name__}"] = pages.faults(chromium)
    chromium.open(live_server.url + reverse("admin:crawler_project_changelist"))
    chromium.run(
        "document.querySelector('.action-select').click();"
        "document.querySelector('[name=action]').value = 'delete_selected';"
        "setTimeout(() => document.querySelector('[name=index]').click());"
    )
    chromium.wait_for(WAIT.format("input[name=post]"))
    found["delete selected"] = pages.faults(chromium)
    chromium.open(live_server.url + reverse("admin:crawler_crawljob_changelist"))
    chromium.run(
        "document.querySelector('.action-select').click();"
        "document.querySelector('[name=action]').value = 'cancel';"
        "setTimeout(() => document.querySelector('[name=index]').click());"
    )
    chromium.wait_for(WAIT.format(".submit-row a.button"))
    found["cancel"] = pages.faults(chromium)
    with connection.cursor() as cursor:
        cursor.execute("/* queue:test */ UPDATE job_chunks SET status = 'failed'")
    chromium.open(live_server.url + reverse("admin:index"))
    chromium.wait_for(WAIT.format("[aria-label^='Retry these']"))
    found["home"] = pages.faults(chromium)
    for refused in ("/admin/nothing-is-here/", reverse("admin:jobs_worker_add")):
        chromium.open(live_server.url + refused)
        found[refused] = pages.faults(chromium)
    User.objects.update(is_superuser=False)
    chromium.open(live_server.url + reverse("admin:index"))
    found["nothing may be seen"] = pages.faults(chromium)
    chromium.run("setTimeout(() => document.querySelector('#logout-form button').click());")
    chromium.wait_for(WAIT.format("body:not(:has(#logout-form))"))
    found["logged out"] = pages.faults(chromium)
    assert {page: faults for page, faults in found.items() if faults} == {}


ROWS = """
const region = document.querySelector(".results");
const heights = [...document.querySelectorAll("#result_list tbody tr")].map((row) => row.offsetHeight);
return [region.scrollWidth - region.clientWidth, Math.max(...heights)];
"""


def test_a_long_name_pushes_no_column_off_the_list(
    admin_client: Client, live_server: Any, rows: Any
) -> None:
    for model in (CrawlJob, Project, Group):
        model.objects.update(name="W" * 100)
    Profile.objects.update(email="W" * 100, full_name="W" * 100)
    with browser.Browser() as chromium:
        chromium.show_as(width=1280, theme="light")
        chromium.open(f"{live_server.url}/admin/login/")
        chromium.set_cookie("sessionid", admin_client.cookies["sessionid"].value)
        for model in (CrawlJob, Project, Group, Profile):
            chromium.open(live_server.url + list_of(model))
            wider, height = chromium.run(ROWS)
            assert wider <= 0, model
            assert height < 90, model
