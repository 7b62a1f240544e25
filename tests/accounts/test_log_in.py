"""Log-ins that fail are throttled by account and by address; others are not locked out by it."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import throttling
from accounts.models import LogInAttempt
from accounts.throttling import ACCOUNT_LIMIT, ADDRESS_LIMIT, PAIR_LIMIT, TooManyLogIns

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
LOG_IN = "/admin/login/"


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_superuser("ada", "ada@x.org", "right")


def try_it(name: str = "ada", password: str = "wrong", address: str = HOME, **more: str) -> Any:
    return Client(REMOTE_ADDR=address, **more).post(
        LOG_IN, {"username": name, "password": password}
    )


def fail(times: int, *, account: str = "ada", addresses: Iterator[str] | None = None) -> None:
    for _ in range(times):
        throttling.begin(account=account, address=next(addresses) if addresses else HOME)


def many() -> Iterator[str]:
    return (f"203.0.113.{n}" for n in range(256))


@pytest.mark.django_db
def test_after_some_failures_the_right_password_is_refused_too_and_one_is_told_until_when(
    ada: User,
) -> None:
    for _ in range(PAIR_LIMIT):
        assert try_it().status_code == 200
    answer = try_it(password="right")
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= throttling.WINDOW.total_seconds() + 1
    assert re.search(
        r"Too many log-ins failed\. Try again in 15 minutes, after \d\d:\d\d UTC\.",
        answer.content.decode(),
    )
    LogInAttempt.objects.update(at=timezone.now() - throttling.WINDOW)
    assert try_it(password="right").status_code == 302


@pytest.mark.django_db
def test_an_account_that_does_not_exist_is_answered_like_one_that_does(ada: User) -> None:
    answers = [(try_it(), try_it("nobody")) for _ in range(PAIR_LIMIT + 1)]
    for real, unknown in answers:
        texts = [re.sub(r'value="[^"]*"', "", each.content.decode()) for each in (real, unknown)]
        assert real.status_code == unknown.status_code
        assert texts[0] == texts[1]


@pytest.mark.django_db
def test_the_password_is_hashed_as_often_for_an_account_that_does_not_exist(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = type(hashers.get_hasher())
    made: list[str] = []
    real = hasher.encode

    def encode(self: Any, password: str, salt: str, *more: Any) -> str:
        made.append(password)
        return real(self, password, salt, *more)

    monkeypatch.setattr(hasher, "encode", encode)
    counts = []
    for name in ("ada", "nobody"):
        made.clear()
        try_it(name)
        counts.append(len(made))
    assert counts[0] == counts[1] > 0


@pytest.mark.django_db
def test_one_address_may_not_guess_at_many_accounts(ada: User) -> None:
    for n in range(ADDRESS_LIMIT):
        fail(1, account=f"user{n}")
    assert try_it(password="right").status_code == 429
    assert try_it(password="right", address=ELSEWHERE).status_code == 302


@pytest.mark.django_db
def test_guessing_from_elsewhere_does_not_lock_out_who_uses_the_account_at_home(ada: User) -> None:
    assert try_it(password="right").status_code == 302
    fail(ACCOUNT_LIMIT, addresses=many())
    assert try_it(address=ELSEWHERE, password="right").status_code == 429
    assert try_it(password="right").status_code == 302


@pytest.mark.django_db
def test_who_logs_in_begins_anew(ada: User) -> None:
    for _ in range(3):
        fail(PAIR_LIMIT - 1)
        assert try_it(password="right").status_code == 302
    assert LogInAttempt.objects.count() == 1


@pytest.mark.django_db
def test_the_name_may_be_written_in_any_case(ada: User) -> None:
    fail(PAIR_LIMIT, account="ADA")
    assert try_it(password="right").status_code == 429


@pytest.mark.django_db
def test_what_counts_no_more_is_deleted_and_names_are_not_kept(ada: User) -> None:
    fail(3, account="my-password-typed-into-the-wrong-input")
    assert not LogInAttempt.objects.filter(account__contains="my-password").exists()
    LogInAttempt.objects.update(at=timezone.now() - throttling.WINDOW - timedelta(seconds=1))
    fail(1)
    assert LogInAttempt.objects.count() == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "no address", True),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_an_address_is_a_v4_address_or_a_v6_network(one: str, other: str, same: bool) -> None:
    assert (throttling.network_of(one) == throttling.network_of(other)) is same


@pytest.mark.django_db
def test_the_client_is_whom_the_proxy_names_last_and_only_where_there_is_one(
    ada: User, settings: Any
) -> None:
    for n in range(PAIR_LIMIT):
        try_it(HTTP_X_FORWARDED_FOR=f"203.0.113.{n}")
    assert try_it(HTTP_X_FORWARDED_FOR="203.0.113.99").status_code == 429
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    made_up = f"{HOME}, {ELSEWHERE}"
    for _ in range(PAIR_LIMIT):
        assert try_it(HTTP_X_FORWARDED_FOR=made_up).status_code == 200
    assert try_it(HTTP_X_FORWARDED_FOR=f"203.0.113.5, {ELSEWHERE}").status_code == 429
    assert try_it(HTTP_X_FORWARDED_FOR=f"{ELSEWHERE}, 203.0.113.5").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_hundred_at_once_are_no_more_than_one_after_the_other() -> None:
    start = threading.Barrier(10)

    def guess(_: int) -> bool:
        start.wait()
        try:
            throttling.begin(account="ada", address=HOME)
        except TooManyLogIns:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(10) as threads:
        assert sum(threads.map(guess, range(100))) == PAIR_LIMIT
