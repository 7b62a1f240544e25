"""Every page runs only our own scripts and styles: the header says so, and a browser agrees."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.web import browser
from tests.web.test_admin_filters import MODELS, list_of

WANTED = (
    "script-src 'self'", "object-src 'none'", "frame-ancestors 'none'", "base-uri 'self'",
    "default-src 'self'", "form-action 'self'", "style-src 'self'",
)  # fmt: skip
GENERATION = "?provider=local&operation=text_to_image"


@pytest.mark.django_db
def test_every_answer_has_the_policy(admin_client: Client) -> None:
    for client in (admin_client, Client()):
        for url in (
            "/admin/",
            "/admin/login/",
            "/nothing",
            "/admin/status/",
            "/admin/%00",
            "/webhooks/x/y",
        ):
            policy = client.get(url)["Content-Security-Policy"].split("; ")
            assert set(WANTED) <= set(policy), url
            assert not any("unsafe" in part for part in policy)


@pytest.mark.skipif(not browser.is_there(), reason="needs chromium and chromedriver")
@pytest.mark.django_db(transaction=True)
@pytest.mark.long
def test_a_browser_finds_nothing_to_refuse(
    admin_client: Client, live_server: Any, rows: Any
) -> None:
    pages = [reverse("admin:index"), reverse("status"), reverse("admin:providers_status")]
    pages += [list_of(model) for model in MODELS]
    pages += [
        f"{list_of(model)}{rows[model].pk}/change/"
        for model in MODELS
        if model._meta.model_name
        in ("crawljob", "job", "provideraccount", "user", "jobchunk", "asset")
    ]
    pages += [
        reverse(f"admin:{name}_add")
        for name in ("crawler_crawljob", "providers_provideraccount", "auth_user")
    ]
    add = reverse("admin:jobs_job_add")
    pages += [add, add + GENERATION]
    with browser.Browser() as chromium:
        chromium.open(f"{live_server.url}/admin/login/")
        refused = {"/admin/login/": _refused(chromium)}
        chromium.set_cookie("sessionid", admin_client.cookies["sessionid"].value)
        for page in pages:
            chromium.open(live_server.url + page)
            assert chromium.run("return !document.querySelector('#login-form')"), page
            refused[page] = _refused(chromium)
        chromium.run(
            "document.body.insertAdjacentHTML('beforeend', '<b onclick=1 style=\"top:0\">')"
        )
        assert _refused(chromium), "the console says what is refused"
    assert {page: said for page, said in refused.items() if said} == {}


def _refused(chromium: browser.Browser) -> list[str]:
    return [
        text for text in chromium.said() if "Content Security Policy" in text or "Uncaught" in text
    ]
