"""Payloads and answers for the admin: secrets masked, long texts cut."""

import json
import re
from collections.abc import Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from pixsim.core.crypto import CredentialsUnreadable
from providers.models import ProviderAccount

MASK = "[secret]"
SHORTEST_SECRET = 6
LONGEST_TEXT = 2000
LONGEST_DATA = 80

SECRET_NAME = re.compile(
    r"auth(?!ors?$)|api.?key|(?:^|[_.-]|access|private)key$|token|cookie|secret|passw|credential"
    r"|signature|session",
    re.IGNORECASE,
)
# Numbers of tokens that a model read or wrote are not secrets.
COUNT_NAME = re.compile(r"tokens$|_tokens_|tokens_details$", re.IGNORECASE)
SIGNED_QUERY = re.compile(
    r"([?&][^=&\s]*(?:sig|signature|token|key|credential|expires|policy)[^=&\s]*=)[^&\s\"']+",
    re.IGNORECASE,
)
DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]+")
BASE64 = re.compile(r"[A-Za-z0-9+/=_-]{400,}")


def shown(value: Any, account: ProviderAccount | None = None) -> SafeString:
    """Return a value as JSON in a block of text, masked."""
    text = json.dumps(masked(value, secrets_of(account)), indent=2, ensure_ascii=False)
    return format_html('<pre class="px-json px-code">{}</pre>', text)


def masked(value: Any, secrets: Sequence[str] = ()) -> Any:
    """Return `value` with secrets masked, by name or as one of `secrets`, and long data cut."""
    if isinstance(value, dict):
        return {
            name: MASK if each and _is_secret(name, each) else masked(each, secrets)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [masked(each, secrets) for each in value]
    return _text(value, secrets) if isinstance(value, str) else value


def secrets_of(account: ProviderAccount | None) -> list[str]:
    """Return the account's secrets that can be decrypted, to mask them wherever they are repeated.

    Those under SHORTEST_SECRET are left out: they would mask parts of words.
    """
    found: list[str] = []
    for name in account.stored_credentials if account else ():
        try:
            found.extend(_texts(getattr(account, name)))
        except CredentialsUnreadable:
            continue
    return [secret for secret in found if len(secret) >= SHORTEST_SECRET]


def _is_secret(name: str, value: Any) -> bool:
    if isinstance(value, bool | int | float) or COUNT_NAME.search(name):
        return False
    return bool(SECRET_NAME.search(name))


def _text(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = SIGNED_QUERY.sub(rf"\1{MASK}", text)
    text = DATA_URI.sub(_short_data, text)
    text = BASE64.sub(_short_data, text)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
    return text


def _short_data(found: re.Match[str]) -> str:
    return f"{found[0][:LONGEST_DATA]}… ({len(found[0]):,} characters)"


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []
