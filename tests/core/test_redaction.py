"""Secrets are hidden under whatever name and in whatever form they are written."""

import json
import time
from dataclasses import fields
from typing import Any

import pytest
from django.apps import apps
from django.test import Client, RequestFactory
from django.views.debug import get_default_exception_reporter_filter

from pixsim.core.crypto import EncryptedTextField
from pixsim.core.redaction import (
    DEEPEST,
    LONGEST,
    MOST_CHARACTERS,
    MOST_VALUES,
    declare,
    declared,
    is_secret,
    redact,
    redacted,
)
from providers.adapters import all_adapters
from providers.adapters.base import Credentials
from providers.masking import masked

SECRET = "hush7Hush"


@pytest.mark.parametrize(
    "text",
    [
        "api-key={}",
        "API-KEY: {}",
        "Bearer {}",
        "bearer+{}",
        "Bearer%20{}",
        "cookie: {}",
        "Cookie: sessionid={}; csrftoken={}",
        "set-cookie: a={}; Path=/",
        "whsec_{}",
        "https://b.example/x?X-Amz-Signature={}&X-Amz-Expires=3600",
        "https://b.example/x?a=1&X-Amz-Credential={}",
        "https://b.example/x?sig={}",
        "jwt={}",
        "jwt: eyJhbGciOiJI.{}.x",
        "eyJhbGciOiJI.{}.x",
        '"token": "{}"',
        '{{"token": "a {} b", "n": 1}}',
        "'token': 'a \\'{}'",
        '"body": "{{\\"token\\": \\"{}\\"}}"',
        "token%3D{}",
        "next=https%3A%2F%2Fx%2F%3Fsig%3D{}",
        "data[token]={}",
        "data%5Btoken%5D={}",
        "token[]={}&token[1]={}",
        "token%5B%5D={}",
        "%22token%22%3A%22{}%22",
        "os.environ['SECRET_KEY'] = '{}'",
        'curl -H "Authorization: Bearer {}" -H "X-Api-Key: {}"',
        "api key: {}",
        "Authorization=Basic {}",
        "Bearer\t{}",
        "AIza{}abcdefgh",
        "authorization: Basic {}",
        "Basic {}=",
        "Proxy-Authorization: Digest username=x, response={}",
        "{{'Authorization': 'Bearer {}'}}",
        "[(b'authorization', b'Bearer {}')]",
        "access_key={}",
        "accessKey: {}",
        "AWS_SECRET_ACCESS_KEY={}",
        "x-auth: {}",
        "oauth_token = {}",
        "client_secret => {}",
        "<password>{}</password>",
        "--api-key {}",
        "--token={}",
        "postgres://user:{}@host/db",
        "redis://:p@ss/{}@host",
        "https://{}@github.example/",
        "postgres%3A%2F%2Fuser%3A{}%40host",
        "METRICS_TOKEN={}",
        "CREDENTIALS_KEYS=old,{}",
        "CREDENTIALS_KEYS=['old', '{}']",
        'PROVIDER_WEBHOOK_SECRETS={{"a": ["b", "{}"]}}',
        "sk-proj-{}",
        "pxs_ab12_{}",
        "r8_{}",
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    ],
)
def test_a_secret_is_hidden(text: str) -> None:
    line = text.format(*[SECRET] * text.count("{}"))
    for before, after in (("", ""), ("GET /?a=b&", " HTTP/1.1"), ("said:\n", "\nand more")):
        shown = redact(f"{before}{line}{after}")
        assert SECRET not in shown
        assert shown.startswith(before)
        assert SECRET not in masked(f"{before}{line}{after}")


@pytest.mark.parametrize(
    "text",
    [
        "GET /a/b.png?size=3&page=2 404",
        "https://example.org/a:b@c.jpg stored",
        "author=Bob authors: Ann; the token of a promise",
        "max_tokens=100, 'total_tokens': 5, tokens: 7",
        "Key (id)=(5) already exists.",
        "basic information of Basic skills, sk-yline",
        "a monkey: banana",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def names_of_secrets() -> set[str]:
    """Return the names that settings, fields and adapters give to secrets, from their definitions."""
    names = {"SECRET_KEY", "CREDENTIALS_KEYS", "PROVIDER_WEBHOOK_SECRETS", "METRICS_TOKEN"}
    for model in apps.get_models():
        names |= {
            field.name
            for field in model._meta.concrete_fields
            if isinstance(field, EncryptedTextField)
        }
    names |= {each.name for each in fields(Credentials) if not each.repr}
    for adapter in all_adapters().values():
        if adapter.credential and hasattr(adapter, "headers"):
            sent = adapter.headers(Credentials(api_key=SECRET))
            names |= {name for name, value in sent.items() if SECRET in value}
    return names


def test_settings_fields_and_adapters_declare_the_names_of_their_secrets() -> None:
    names = names_of_secrets()
    assert {"jwt_token", "cookies", "api_key_paid", "Authorization", "API-KEY"} <= names
    for name in names:
        assert name.lower().translate({45: None, 95: None}) in declared()
        assert redact(f"{name}={SECRET} ") != f"{name}={SECRET} "
        assert masked({name: SECRET}) == {name: "[secret]"}


def test_a_name_that_sounds_like_nothing_is_hidden_once_it_is_declared() -> None:
    assert not is_secret("plum_of-Adapter")
    declare("plum_of-Adapter")
    assert redact("PLUM-OF-ADAPTER: x") == "PLUM-OF-ADAPTER: ***"
    assert redacted({"plumOfAdapter": "x"}) == {"plumOfAdapter": "***"}


def test_json_is_masked_by_name_at_any_depth_and_counts_stay() -> None:
    value = {
        "usage": {"total_tokens": 5, "input_tokens_details": {"text_tokens": 3}},
        "tokens": ["a"],
        "headers": [{"X-Api-Key": "a", "n": 1, "author": "Ann"}],
        "session": None,
        "url": "https://x.example/?sig=a",
    }
    assert redacted(value) == {
        **value,
        "tokens": "***",
        "headers": [{"X-Api-Key": "***", "n": 1, "author": "Ann"}],
        "url": "https://x.example/?sig=***",
    }
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]
    assert str(redacted(deep)).count("[") == DEEPEST


@pytest.mark.parametrize(
    "value",
    [
        ["?token"] * 200_000,
        [["&token="] * 500] * 400,
        {f"?token{n}=": "&token=" for n in range(200_000)},
        ["?token" * 300] * 5_000,
        {"x" * 10**6: 1},
    ],
    ids=["list", "lists", "object", "texts", "name"],
)
def test_of_a_long_answer_the_beginning_is_shown(value: Any) -> None:
    shown = json.dumps(redacted(value))
    assert len(shown) < 2 * MOST_CHARACTERS
    assert shown.count(",") <= MOST_VALUES + 10
    assert json.loads(shown)


@pytest.mark.parametrize(
    "part",
    [
        "a-",
        "?token",
        "&token=",
        "a=",
        "://a:",
        "://",
        "token='",
        'token=\\"',
        "bearer ",
        "eyJ.",
        "a",
    ],
)
@pytest.mark.parametrize("hide", [redact, masked])
def test_hiding_takes_time_in_proportion_to_the_text(hide: Any, part: str) -> None:
    """The redactor took 31 seconds for 30 kB of `a-`, the masking minutes for `?token`."""
    whole = (part * LONGEST)[:LONGEST]

    def seconds(text: str) -> float:
        began = time.thread_time()
        hide(text)
        return time.thread_time() - began

    ratios = (seconds(whole) / seconds(whole[: LONGEST // 2]) for _ in range(10))
    assert any(ratio <= 2.5 for ratio in ratios)


@pytest.mark.django_db
def test_a_404_of_a_long_address_costs_what_a_404_costs(client: Client) -> None:
    def seconds(path: str) -> float:
        began = time.thread_time()
        assert client.get(path).status_code == 404
        return time.thread_time() - began

    seconds("/x")
    ratios = (seconds("/" + "a-" * 15_000) / seconds("/x") for _ in range(10))
    assert any(ratio <= 10 for ratio in ratios)


def test_a_text_is_cut_before_it_is_read() -> None:
    assert len(redact("a" * LONGEST * 3)) == LONGEST
    whole = masked("a b " * 1024**2)
    assert whole.endswith("… (4,194,304 characters)")
    assert len(whole) < 2100


def test_the_page_of_an_error_shows_no_secret_settings_and_headers(
    rf: RequestFactory, settings: Any
) -> None:
    settings.DATABASE_URL = f"postgres://user:{SECRET}@host/db"
    settings.PLUM = {"jwt": SECRET, "urls": [f"https://x.example/?sig={SECRET}"], "size": 3}
    reporter = get_default_exception_reporter_filter()
    shown = reporter.get_safe_settings()
    assert shown["DATABASE_URL"] == "postgres://user:***@host/db"
    assert shown["PLUM"] == {"jwt": "***", "urls": ["https://x.example/?sig=***"], "size": 3}
    request = rf.get("/", headers={"Api-Key": SECRET, "Cookie": f"a={SECRET}", "X-Auth": SECRET})
    assert SECRET not in str(reporter.get_safe_request_meta(request))
