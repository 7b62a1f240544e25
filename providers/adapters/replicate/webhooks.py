"""Signature and age of Replicate's webhooks (replicate.com/docs/topics/webhooks)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from providers.adapters.errors import WebhookRefused

TOLERANCE_SECONDS = 300.0


def checked_id(headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> str:
    """Return the id of a webhook with a valid signature and age. Raise WebhookRefused.

    The id is the same when a webhook is sent again. `secret` is the account's signing key
    (`whsec_…`); `now` is in seconds since 1970.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        webhook_id, sent = lower["webhook-id"], lower["webhook-timestamp"]
        signatures = lower["webhook-signature"].split()
        age = now - int(sent)
    except (KeyError, ValueError) as error:
        raise WebhookRefused("The webhook has no id, time or signature.") from error
    right = _signature(secret, webhook_id, sent, body).encode()
    given = [each.partition(",")[2].encode() for each in signatures if each.startswith("v1,")]
    if not any(hmac.compare_digest(right, each) for each in given):
        raise WebhookRefused("The webhook's signature is wrong.")
    if abs(age) > TOLERANCE_SECONDS:
        raise WebhookRefused(f"The webhook was sent {age:.0f} s ago.")
    return webhook_id


def _signature(secret: str, webhook_id: str, sent: str, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WebhookRefused("The signing key of the account cannot be read.") from error
    if not key:
        raise WebhookRefused("The account has no signing key.")
    signed = f"{webhook_id}.{sent}.".encode() + body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
