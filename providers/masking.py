"""Payloads and answers for the admin: secrets masked, long texts cut."""

import json
from collections.abc import Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from pixsim.core.crypto import CredentialsUnreadable
from pixsim.core.patterns import Match, pattern
from pixsim.core.redaction import redact, redacted
from providers.models import ProviderAccount

MASK = "[secret]"
SHORTEST_SECRET = 6
LONGEST_TEXT = 2000
LONGEST_DATA = 80

# Characters that are read: pictures in them are shortened first, so what follows one is shown, too.
LONGEST_READ = 256 * 1024
SHORTEST_DATA = 400

shorten_data_uri = pattern(
    r"data:[\w.+-]{1,100}+/[\w.+-]{1,100};base64,[A-Za-z0-9+/=]++",
    longest=LONGEST_READ,
    method="sub",
)
replace_words = pattern(
    r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/=_-]++", longest=LONGEST_READ, method="sub"
)


def shown(value: Any, account: ProviderAccount | None = None) -> SafeString:
    """Return a value as JSON in a block of text, masked."""
    text = json.dumps(masked(value, secrets_of(account)), indent=2, ensure_ascii=False)
    return format_html('<pre class="px-json px-code">{}</pre>', text)


def masked(value: Any, secrets: Sequence[str] = ()) -> Any:
    """Return `value` with secrets masked, by name or as one of `secrets`, and long data cut."""
    return redacted(value, mask=MASK, text=lambda text: _text(text, secrets))


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


def _text(text: str, secrets: Sequence[str]) -> str:
    whole = len(text)
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = replace_words(_short_data, shorten_data_uri(_short_data, text))
    text = redact(text, MASK)
    if len(text) > LONGEST_TEXT or whole > LONGEST_READ:
        text = f"{text[:LONGEST_TEXT]}… ({whole:,} characters)"
    return text


def _short_data(found: Match[str]) -> str:
    if len(found[0]) < SHORTEST_DATA:
        return found[0]
    return f"{found[0][:LONGEST_DATA]}… ({len(found[0]):,} characters)"


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []
