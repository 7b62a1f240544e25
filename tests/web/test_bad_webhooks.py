"""A webhook that nobody can read is refused with 400, signed or not, and changes nothing."""

import base64
import hashlib
import hmac
import time
from typing import Any

import pytest
from django.test import Client

from providers.adapters import all_adapters
from providers.models import ProviderSubmission, ProviderWebhook

pytestmark = pytest.mark.django_db
KEY = base64.b64encode(b"k" * 24).decode()
NOW = str(int(time.time()))
HUGE = "9" * 400
DEEP = b"[" * 500_000
BODIES = [
    b"", b"{", DEEP, b'{"id":' * 100_000, b"null", b"[]", b'"id"', b"1e999", b"9" * 5000, b"\xff\xfe{",
    '{"id": "é"}'.encode("utf-16"), b'{"id": "a\\u0000", "status": "processing"}', b'{"id": 1, "status": []}',
    b'{"id": "\\ud800", "status": "processing"}', b'{"id": {"a": 1}, "status": "starting"}',
    b'{"id": "1", "status": "succeeded", "output": [[[{}]]]}', b'{"id": "' + b"a" * 300 + b'"}',
]  # fmt: skip
HEADERS = [
    {"webhook-timestamp": HUGE}, {"webhook-timestamp": "-" + HUGE}, {"webhook-timestamp": "9" * 5000},
    {"webhook-timestamp": "NaN"}, {"webhook-timestamp": "²"}, {"webhook-timestamp": ""},
    {"webhook-signature": "v1," * 100_000}, {"webhook-signature": "v1,a " * 100_000},
    {"webhook-signature": "v1,\xff\xfe"}, {"webhook-id": "a\x00b"}, {"webhook-id": "a" * 300},
    {"webhook-id": "\xff"}, {"Content-Type": "text/plain; charset=punycode"}, {"Content-Encoding": "br"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def _secrets(settings: Any) -> None:
    settings.PROVIDER_WEBHOOK_SECRETS = dict.fromkeys(all_adapters(), f"whsec_{KEY}")


def signed(body: bytes, **changed: str) -> dict[str, str]:
    """Headers as Replicate signs them."""
    headers = {"webhook-id": "e1", "webhook-timestamp": NOW, **changed}
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.digest(b"k" * 24, text, hashlib.sha256)).decode()
    return {"webhook-signature": f"v1,{digest}", **headers}


@pytest.mark.parametrize("provider", sorted(all_adapters()))
def test_no_body_and_no_header_is_more_than_a_bad_request(
    client: Client, rows: Any, provider: str
) -> None:
    submission = rows[ProviderSubmission]
    submission.provider_id, submission.reference = provider, "r"
    submission.save()
    url = f"/webhooks/{provider}/r"
    requests = [(body, headers) for body in BODIES for headers in ({}, signed(body))]
    requests += [(b'{"id": "1"}', {**signed(b'{"id": "1"}'), **each}) for each in HEADERS]
    requests += [(b'{"id": "1"}', signed(b'{"id": "1"}', **each)) for each in HEADERS[:3]]
    for body, headers in requests:
        answer = client.post(url, body, content_type="application/json", headers=headers)
        if answer.status_code == 200:  # what a provider could really say of its generation
            assert provider == "replicate", body[:60]
            assert b"status" in body
            assert headers
        else:
            assert answer.status_code == 400, (body[:60], str(headers)[:100], answer.content)
    assert ProviderWebhook.objects.count() <= 1


def test_bad_addresses_of_webhooks_are_refused(client: Client) -> None:
    for path in ("%00", "r%00", "%ff", "a" * 3000, "..%2f", "%0d%0aX:y"):
        assert client.post(f"/webhooks/replicate/{path}", b"{}", "text/plain").status_code in (
            400,
            404,
        )
        assert client.post(f"/webhooks/{path}/r", b"{}", "text/plain").status_code in (400, 404)
