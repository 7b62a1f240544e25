"""Webhooks of providers: where they are sent, who may send them, and each taken once.

PUBLIC_URL is where providers reach this site, and PROVIDER_WEBHOOK_SECRETS has the secret of each
provider, or several: one of each account, or the old and the new while they change. Without both
no webhook is asked for, and polling does it all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from providers.adapters.base import Adapter, WebhookEvent
from providers.adapters.errors import WebhookRefused
from providers.models import ProviderWebhook

KEPT = timedelta(days=1)
"""Adapters refuse what is older than minutes; an event that is forgotten after a day is safe."""
LONGEST_EVENT_ID = 200

RECORD = """
INSERT INTO provider_webhooks (provider_id, event_id) VALUES (%s, %s)
ON CONFLICT (provider_id, event_id) DO NOTHING
"""


def url_for(adapter: Adapter, reference: str) -> str | None:
    """Return the webhook address of this submission; None if no webhook is asked for."""
    if not settings.PUBLIC_URL or not sends_webhooks(adapter) or not _secrets(adapter):
        return None
    return f"{settings.PUBLIC_URL}/webhooks/{adapter.name}/{reference}"


def sends_webhooks(adapter: Adapter) -> bool:
    return type(adapter).webhook is not Adapter.webhook


def verify(
    adapter: Adapter, headers: Mapping[str, str], body: bytes, *, now: float
) -> WebhookEvent:
    """Return the event. Raise WebhookRefused unless one of our secrets signed it and it is recent."""
    refused = WebhookRefused(f"There is no secret for webhooks of {adapter.name}.")
    for secret in _secrets(adapter):
        try:
            event = adapter.webhook(headers, body, secret=secret, now=now)
        except WebhookRefused as error:
            refused = error
            continue
        if not 0 < len(event.event_id) <= LONGEST_EVENT_ID:
            raise WebhookRefused("The event's id is empty or too long.")
        return event
    raise refused


def record_event(provider_id: str, event_id: str) -> bool:
    """Record an event in the caller's transaction. Return False if it was recorded before."""
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [provider_id, event_id])
        return bool(cursor.rowcount)


def delete_old_events(*, dry_run: bool = False) -> int:
    """Delete events that are too old to be accepted again; return how many."""
    old = ProviderWebhook.objects.filter(received_at__lt=timezone.now() - KEPT)
    return old.count() if dry_run else old.delete()[0]


def _secrets(adapter: Adapter) -> list[str]:
    secrets = settings.PROVIDER_WEBHOOK_SECRETS.get(adapter.name) or []
    return [secrets] if isinstance(secrets, str) else [secret for secret in secrets if secret]
