"""People whose passwords an older system hashed with bcrypt log in here."""

from typing import Any

import bcrypt
import pytest
from django.contrib.auth.hashers import check_password, identify_hasher
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.hashers import encode_legacy
from pixsim import settings as site
from tests.adoption.legacy.passwords import HASHES, LONG, PLAIN


@pytest.fixture(autouse=True)
def _hashers_of_the_site(settings: Any) -> None:
    settings.PASSWORD_HASHERS = site.PASSWORD_HASHERS


@pytest.fixture
def old_admin(db: None) -> User:
    return User.objects.create(
        username="old", password=encode_legacy(HASHES[LONG]), is_staff=True, is_superuser=True
    )


def log_in(client: Client, password: str) -> bool:
    """Through the admin's page, as a person does; whether it worked."""
    page = reverse("admin:login")
    answer = client.post(page, {"username": "old", "password": password, "next": "/admin/"})
    assert answer.status_code in (200, 302)
    return answer.status_code == 302


def test_a_password_beyond_72_bytes_logs_in_at_the_admin_and_gets_a_hash_of_ours(
    client: Client, old_admin: User
) -> None:
    assert not log_in(client, LONG[:-40])
    assert not log_in(client, "")
    assert log_in(client, LONG)
    assert client.get(reverse("admin:index")).status_code == 200
    old_admin.refresh_from_db()
    assert old_admin.password.startswith("pbkdf2_sha256$")

    again = Client()
    assert not log_in(again, LONG[:-1])  # bcrypt read 72 bytes of it, the new hash reads all
    assert log_in(again, LONG)


@pytest.mark.parametrize("password", HASHES)
def test_every_variant_of_bcrypt_is_verified(password: str) -> None:
    assert {HASHES[one][:4] for one in HASHES} == {"$2b$", "$2a$", "$2y$"}
    encoded = encode_legacy(HASHES[password])
    assert check_password(password, encoded)
    assert not check_password(password[:-1] if len(password) < 72 else password[:71], encoded)


def test_only_the_first_72_bytes_count_as_they_did_even_within_a_character() -> None:
    umlauts = "ü" * 60
    cut = "x" + umlauts
    for password in (umlauts, cut):
        hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
        assert check_password(password, encode_legacy(hashed))
        assert not check_password(password[:30], encode_legacy(hashed))


@pytest.mark.parametrize(
    "stored", ["", "$2b$", "$2b$04$short", "plain text", "$1$md5$x", "$2b$99$" + "a" * 53, "ü"]
)
def test_what_is_no_bcrypt_hash_lets_nobody_in_and_breaks_nothing(stored: str) -> None:
    assert not check_password("anything", encode_legacy(stored))
    assert identify_hasher(encode_legacy(stored)).safe_summary(encode_legacy(stored))


def test_a_null_character_in_a_password_is_a_wrong_password() -> None:
    assert not check_password(PLAIN + "\0", encode_legacy(HASHES[PLAIN]))


def test_an_unknown_user_costs_no_error(client: Client, old_admin: User) -> None:
    old_admin.delete()
    assert not log_in(client, LONG)


def test_the_form_of_such_a_user_shows_no_hash(client: Client, old_admin: User) -> None:
    client.force_login(old_admin)
    page = client.get(reverse("admin:auth_user_change", args=[old_admin.pk])).content.decode()
    assert "bcrypt_legacy (2b)" in page
    assert HASHES[LONG][7:29] not in page
    assert HASHES[LONG][29:] not in page
