"""Pages that renew themselves, in a browser: what somebody does there survives each refresh."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from crawler.admin.jobs import CrawlJobAdmin
from crawler.models import CrawlJob
from tests.web import browser

pytestmark = [
    pytest.mark.skipif(not browser.is_there(), reason="needs chromium and chromedriver"),
    pytest.mark.django_db(transaction=True),
]

SECONDS = 60
TAB, ENTER = "\ue004", "\ue007"


@pytest.fixture
def chromium() -> Iterator[browser.Browser]:
    with browser.Browser() as started:
        yield started


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CrawlJobAdmin, "live_seconds", 0.3)


@pytest.fixture
def staff() -> User:
    user = User.objects.create_user("staff", is_staff=True)
    wanted = ["view_crawljob", "change_crawljob", "system_work"]
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    return user


@pytest.fixture
def page(chromium: browser.Browser, live_server: Any, job: CrawlJob, admin_client: Client) -> str:
    return open_page(chromium, live_server, job, admin_client)


def open_page(chromium: browser.Browser, live_server: Any, job: CrawlJob, client: Client) -> str:
    url = live_server.url + reverse("admin:crawler_crawljob_change", args=[job.pk])
    chromium.open(f"{live_server.url}/admin/login/")
    chromium.set_cookie("sessionid", client.cookies["sessionid"].value)
    chromium.open(url)
    return url


def wait(chromium: browser.Browser, script: str) -> Any:
    """Return what the script returns, when that is true."""
    deadline = time.monotonic() + SECONDS
    while not (value := chromium.run(script)):
        assert time.monotonic() < deadline, (script, chromium.run("return document.body.innerText"))
        time.sleep(0.05)
    return value


def shown(text: str) -> str:
    return f"return document.querySelector('[data-live]').innerText.includes({text!r})"


def notice(chromium: browser.Browser) -> str:
    selector = ".px-live-notice:not([hidden])"
    return str(wait(chromium, f"return document.querySelector('{selector}')?.innerText"))


def stored(job: CrawlJob, count: int) -> None:
    CrawlJob.objects.filter(pk=job.pk).update(
        valid_images=count, progress=count, status="running", outcomes={"stored": count}
    )


def test_what_somebody_does_on_the_page_survives_a_refresh(
    chromium: browser.Browser, page: str, job: CrawlJob
) -> None:
    chromium.run("""
        const panel = document.querySelector("[data-live]");
        document.styleSheets[document.styleSheets.length - 1].insertRule(
            ".moving .px-head strong { letter-spacing: 5px; transition: letter-spacing 900s }", 0);
        panel.classList.add("moving");
        const heading = panel.querySelector("h3").firstChild;
        getSelection().setBaseAndExtent(heading, 1, heading, 5);
        window.scrollTo(0, 40);
        window.pause = [...panel.querySelectorAll("button")].find(b => b.innerText === "Pause");
        window.pause.focus({ preventScroll: true });
        window.strong = panel.querySelector("strong");
    """)
    chromium.run("window.strong.getAnimations()[0].currentTime = 100000")
    stored(job, 40)
    wait(chromium, shown("40 of 100 images"))
    stored(job, 41)
    wait(chromium, shown("41 of 100 images"))

    assert chromium.run("""return [
        document.activeElement === window.pause && window.pause.isConnected,
        document.activeElement.innerText,
        getSelection().toString(),
        window.scrollY,
        window.strong.getAnimations().length,
        window.strong.getAnimations()[0].currentTime > 100000,
        document.title,
    ]""") == [
        True, "Pause", "utco", 40, 1, True, f"Crawl job {job.pk} running, 41 %: birds | PixSim"
    ]  # fmt: skip


@pytest.mark.long
def test_a_job_is_paused_and_cancelled_by_keyboard_while_its_page_is_renewed(
    chromium: browser.Browser, page: str, job: CrawlJob
) -> None:
    def reach(button: str) -> None:
        for count in range(100):
            if chromium.run("return document.activeElement.innerText") == button:
                return
            chromium.press(TAB)
            if count % 10 == 5:
                wait_for_refresh(chromium)
        raise AssertionError(f"{button} is not reached")

    for button, status in (("Pause", "paused"), ("Cancel", "cancelled")):
        chromium.open(page)
        reach(button)
        wait_for_refresh(chromium)
        chromium.press(ENTER)
        if button == "Cancel":  # asks first
            reach_and_agree(chromium)
        wait(chromium, shown(status))
        job.refresh_from_db()
        assert job.status == status


def reach_and_agree(chromium: browser.Browser) -> None:
    wait(chromium, "return Boolean(document.querySelector('.submit-row .default'))")
    for _ in range(100):
        if chromium.run("return document.activeElement.value") == "Yes, I am sure":
            chromium.press(ENTER)
            return
        chromium.press(TAB)
    raise AssertionError("the button is not reached")


def wait_for_refresh(chromium: browser.Browser) -> None:
    count = "performance.getEntriesByType('resource').filter(e => e.name.includes('/live/')).length"
    before = chromium.run(f"return {count}")
    wait(chromium, f"return {count} > {before}")


def test_it_says_when_the_session_has_ended_and_goes_on_after_the_next_log_in(
    chromium: browser.Browser, page: str, job: CrawlJob, admin_client: Client
) -> None:
    Session.objects.all().delete()
    text = notice(chromium)
    assert "Your session has ended." in text
    assert "old, of " in text
    assert chromium.run("return document.querySelector('.px-live-notice a').href") == page
    admin_client.force_login(User.objects.get(is_superuser=True))
    chromium.set_cookie("sessionid", admin_client.cookies["sessionid"].value)
    wait(chromium, "return document.querySelector('.px-live-notice').hidden")


def end_right(staff: User, job: CrawlJob) -> None:
    staff.user_permissions.clear()


def end_job(staff: User, job: CrawlJob) -> None:
    job.delete()


@pytest.mark.parametrize(
    ("end", "words"),
    [(end_right, "You may not see this any more."), (end_job, "This has been deleted.")],
)
def test_it_says_when_there_is_nothing_to_see_any_more(
    chromium: browser.Browser,
    live_server: Any,
    job: CrawlJob,
    staff: User,
    client: Client,
    end: Callable[[User, CrawlJob], None],
    words: str,
) -> None:
    client.force_login(staff)
    open_page(chromium, live_server, job, client)
    assert chromium.run(shown("0 of 100 images"))
    end(staff, job)
    text = notice(chromium)
    assert words in text
    assert "The figures below are " in text


def test_it_says_that_the_server_is_away_and_goes_on_when_it_is_back(
    chromium: browser.Browser, page: str, job: CrawlJob
) -> None:
    chromium.set_offline(True)
    assert "The server does not answer" in notice(chromium)
    age = "parseInt(document.querySelector('.px-live-notice').innerText.match(/are (\\d+) s/)[1])"
    wait(chromium, f"return {age} >= 1")
    stored(job, 7)
    chromium.set_offline(False)
    wait(chromium, shown("7 of 100 images"))
    assert chromium.run("return document.querySelector('.px-live-notice').hidden")


def test_a_hidden_page_asks_nothing_and_is_renewed_when_it_is_seen_again(
    chromium: browser.Browser, page: str, job: CrawlJob
) -> None:
    # A tab of a browser without windows is never hidden: the page is told that it is.
    hide = """
        Object.defineProperty(document, "hidden", { value: %s, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    """
    asked = "performance.getEntriesByType('resource').filter(e => e.name.includes('/live/')).length"
    chromium.run(hide % "true")
    time.sleep(0.5)  # what was asked before is answered
    before = chromium.run(f"return {asked}")
    stored(job, 9)
    chromium.run("window.ticks = 0; setInterval(() => window.ticks++, 300)")
    wait(chromium, "return window.ticks >= 5")
    assert chromium.run(f"return {asked}") == before
    chromium.run(hide % "false")
    wait(chromium, shown("9 of 100 images"))


@pytest.mark.long
def test_what_is_open_on_the_status_page_stays_open(
    chromium: browser.Browser, live_server: Any, page: str
) -> None:
    chromium.open(live_server.url + reverse("status"))
    opened = "[...document.querySelectorAll('[data-live] details')].map(one => one.open)"
    before = chromium.run(f"return {opened}")
    chromium.run("""
        window.first = document.querySelector("[data-live] details");
        for (const one of document.querySelectorAll("[data-live] details")) one.open = !one.open;
        document.querySelector("[data-live] details summary").focus();
    """)
    asked = (
        "performance.getEntriesByType('resource').filter(e => e.name.includes('figures')).length"
    )
    wait(chromium, f"return {asked} > 0")
    wait(chromium, f"return {asked} > 1")
    assert chromium.run(f"return {opened}") == [not one for one in before]
    assert chromium.run("return document.activeElement === window.first.querySelector('summary')")
