"""Webhooks of providers: their address, their signature, and each event processed once.

PUBLIC_URL is the address at which providers reach this site. PROVIDER_WEBHOOK_SECRETS has one or
several secrets of each provider: one per account, or the old and the new during a change. Without
both settings no webhook is requested, and polling alone is used.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from providers.adapters.base import Adapter, WebhookEvent, is_usable_id
from providers.adapters.errors import WebhookRefused
from providers.models import ProviderWebhook

logger = logging.getLogger(__name__)

KEPT = timedelta(days=1)
"""Events are deleted after this time. Adapters refuse older ones: their limit is minutes."""


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
        except Exception as error:
            logger.exception("A webhook of %s cannot be read", adapter.name)
            raise WebhookRefused("The webhook cannot be read.") from error
        if not (is_usable_id(event.event_id) and is_usable_id(event.provider_job_id)):
            raise WebhookRefused("An id in the event is empty, too long or unreadable.")
        return event
    raise refused


def record_event(provider_id: str, event_id: str) -> bool:
    """Record an event in the caller's transaction. Return False if it was recorded before."""
    return ProviderWebhook.objects.get_or_create(provider_id=provider_id, event_id=event_id)[1]


def delete_old_events(*, dry_run: bool = False) -> int:
    """Delete events that are too old to be accepted again; return how many."""
    old = ProviderWebhook.objects.filter(received_at__lt=timezone.now() - KEPT)
    return old.count() if dry_run else old.delete()[0]


def _secrets(adapter: Adapter) -> list[str]:
    secrets = settings.PROVIDER_WEBHOOK_SECRETS.get(adapter.name) or []
    return [secrets] if isinstance(secrets, str) else [secret for secret in secrets if secret]
