"""A small bad value in an address, a query or a form is the client's mistake: never a 500."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.admin_forms import sent

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]
BAD = [
    "abc", "", "-1", "9" * 30, "9" * 5000, "1e9999", "'", "\x00", "1\x00", "\ud7ff", "²", "%00",
    "[" * 2000, "../../etc/passwd", "id__", "a" * 3000, "before:" + "9" * 30, "\r\nX: y", "_5F00",
]  # fmt: skip
FEW = ["[" * 2000, "9" * 5000, "\x00"]
QUERIED = (
    "/admin/login/",
    "/admin/autocomplete/",
    "/admin/jobs/job/add/",
    "/admin/crawler/crawljob/add/",
)
OF_ANY_PAGE = [
    "next", "_changelist_filters", "provider", "operation", "model", "like", "owner", "name",
    "app_label", "model_name", "field_name", "term", "_to_field", "_popup",
]  # fmt: skip
OF_A_LIST = ["p", "o", "q", "e", "all", "_facets", "_to_field", "_popup", "nothing", "id__in"]


RIGHT = {
    "provider": "local", "operation": "text_to_image", "app_label": "crawler",
    "model_name": "jobchunk", "field_name": "owner",
}  # fmt: skip
VALUES = pytest.mark.parametrize(
    "values", [FEW, pytest.param(BAD, marks=pytest.mark.long)], ids=["few", "all"]
)


def addresses(patterns: Any = None, before: str = "/") -> Iterator[str]:
    """Every address of the site, as a route with its converters."""
    for pattern in patterns or get_resolver().url_patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def filled(route: str, value: str) -> str:
    """The address with `value` for each of its converters."""
    text = re.sub(r"<[^>]+>", lambda _: quote(value, safe=""), route)
    return re.sub(r"\(\?P.*", quote(value, safe="/"), text.replace("^", "").replace("$", ""))


@VALUES
def test_no_address_fails_for_a_bad_value(admin_client: Client, values: list[str]) -> None:
    admin_client.raise_request_exception = False
    failed = []
    for route in sorted(set(addresses())):
        for value in values if "<" in route else values[:1]:
            for method in (admin_client.get, admin_client.post):
                address = filled(route, value)
                if method(address).status_code >= 500:
                    failed.append((method.__name__, address[:100]))
    assert failed == []


@VALUES
def test_no_query_of_a_page_fails_for_a_bad_value(admin_client: Client, values: list[str]) -> None:
    admin_client.raise_request_exception = False
    failed = []
    for page in QUERIED:
        for value in values:
            # One by one, and all the others as they should be.
            for name in OF_ANY_PAGE:
                if admin_client.get(page, {**RIGHT, name: value}).status_code >= 500:
                    failed.append((page, name, value[:60]))
    assert failed == []


@pytest.mark.parametrize(
    "values", [FEW[1:2], pytest.param(BAD, marks=pytest.mark.long)], ids=["few", "all"]
)
def test_no_list_fails_for_a_bad_value(admin_client: Client, rows: Any, values: list[str]) -> None:
    admin_client.raise_request_exception = False
    failed = []
    for shown in admin.site._registry.values():
        url = reverse(f"admin:{shown.opts.app_label}_{shown.opts.model_name}_changelist")
        offered = admin_client.get(url).context["cl"].filter_specs
        names = [name for one in offered for name in one.expected_parameters()]
        for name in [*names, *shown.link_lookups, *OF_A_LIST]:
            for value in values:
                if admin_client.get(url, {name: value}, follow=True).status_code >= 500:
                    failed.append((url, name, value[:60]))
    assert failed == []


@VALUES
def test_no_form_fails_for_bad_values(admin_client: Client, rows: Any, values: list[str]) -> None:
    admin_client.raise_request_exception = False
    failed = []
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pages = [reverse(f"{name}_change", args=[rows[model].pk]), reverse(f"{name}_add")]
        for page in pages:
            shown = admin_client.get(page)
            if shown.status_code != 200 or "adminform" not in (shown.context or {}):
                continue
            for value in values:
                form = dict.fromkeys(sent(shown), value)
                if admin_client.post(page, form).status_code >= 500:
                    failed.append((page, value[:60]))
    assert failed == []


@VALUES
def test_no_action_fails_for_a_bad_value(
    admin_client: Client, rows: Any, values: list[str]
) -> None:
    admin_client.raise_request_exception = False
    failed = []
    for model in admin.site._registry:
        page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        key = rows[model].pk
        chosen = [{"action": "delete_selected", "_selected_action": value} for value in values]
        wrong = [{"action": value, "_selected_action": key, "priority": value} for value in values]
        for form in [*chosen, *wrong]:
            answer = admin_client.post(page, {"index": "0", "select_across": "0", **form})
            if answer.status_code >= 500:
                failed.append((page, form))
    assert failed == []


ESCAPED = ["%ff", "%ed%a0%80", "%00", "abc"]
BODIES = [
    ("application/x-www-form-urlencoded; charset=nonsense", b"a=\xff"),
    ("application/x-www-form-urlencoded; charset=utf-16", b"a=b"),
    ("application/x-www-form-urlencoded", b"\xff\xfe=%ff&%00=1"),
    ("multipart/form-data", b"x"),
    ("multipart/form-data; boundary=a", b'--a\r\nContent-Disposition: form-data; name="\xff"\r\n'),
    ("", b"\0"),
]


def test_no_address_of_a_row_fails_for_bytes_that_are_no_text(
    admin_client: Client, rows: Any
) -> None:
    admin_client.raise_request_exception = False
    failed = []
    for route in sorted(set(addresses())):
        query = "&".join(f"{name}={value}" for name in OF_ANY_PAGE[:3] for value in ESCAPED)
        pages = [filled(route, "1") + f"?{query}&o=%ff&by=%ff&e=%ff"]
        if "<" in route:
            pages += [filled(route, "X").replace("X", value) for value in ESCAPED]
        for page in pages:
            if admin_client.generic("GET", page).status_code >= 500:
                failed.append(page)
    # A row's number where the model has other keys.
    for model in ContentType.objects.all():
        if admin_client.get(f"/admin/r/{model.pk}/1/").status_code >= 500:
            failed.append(f"/admin/r/ of {model}")
    assert failed == []


def test_no_form_fails_for_the_filters_of_a_list_that_are_none(
    admin_client: Client, rows: Any
) -> None:
    """A change page leads back to its list, with the filters that the list had."""
    admin_client.raise_request_exception = False
    failed = []
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        page = reverse(f"{name}_change", args=[rows[model].pk])
        for filters in ("priority%3Dabc", "%25ff", "p%3D" + "9" * 30):
            url = f"{page}?_changelist_filters={filters}"
            shown = admin_client.get(url)
            answers = [shown]
            if shown.status_code == 200 and "adminform" in (shown.context or {}):
                answers.append(admin_client.post(url, sent(shown), follow=True))
            failed += [url for answer in answers if answer.status_code >= 500]
    assert failed == []


def test_no_body_fails_that_is_no_form(admin_client: Client) -> None:
    admin_client.raise_request_exception = False
    for page in (*QUERIED, "/admin/jobs/job/add/?provider=local&operation=image_to_image"):
        for kind, body in BODIES:
            answer = admin_client.generic("POST", page, body, content_type=kind)
            assert answer.status_code < 500, (page, kind)


def test_no_cookie_fails(db: None) -> None:
    for value in ('"aaaaaaaaaaaa\\000"', "\xff", "a" * 5000, "%00", ""):
        for url in ("/admin/", "/admin/login/", "/metrics", "/webhooks/x/y"):
            headers = {"Cookie": f"sessionid={value}; csrftoken={value}; messages={value}"}
            assert Client().get(url, headers=headers).status_code < 500, value
