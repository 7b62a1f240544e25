"""What people have paused: a kind of work, an owner, or a host.

A paused kind is not claimed. A paused owner has a window of 0, so what is ready is withdrawn. No
candidate of a paused host is fetched. What is in hand goes on to its end. Workers read the pauses
every second.
"""

import time
from contextlib import suppress
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import CharField, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from accounts.activity import record_change
from accounts.models import Profile
from jobs.models import QueuePause

KIND, OWNER, HOST = "kind", "owner", "host"
CACHE_SECONDS = 1.0

_read: dict[str, frozenset[str]] = {}
_read_at = 0.0


def cached(scope: str) -> frozenset[str]:
    """Return the keys that were paused at most a second ago, or before the database went away."""
    global _read_at
    now = time.monotonic()
    if now - _read_at > CACHE_SECONDS:
        _read_at = now
        with suppress(OperationalError, InterfaceError):
            rows = list(QueuePause.objects.values_list("scope", "key"))
            for each in (KIND, OWNER, HOST):
                _read[each] = frozenset(key for scope, key in rows if scope == each)
    return _read.get(scope, frozenset())


def fresh(scope: str) -> frozenset[str]:
    """Return the keys that are paused now."""
    return frozenset(QueuePause.objects.filter(scope=scope).values_list("key", flat=True))


def everything() -> QuerySet[Any]:
    """Return all pauses, the latest first; `name` is the owner's e-mail, where it is an owner's."""
    owners = Profile.objects.annotate(key=Cast("pk", CharField())).filter(key=OuterRef("key"))
    name = Coalesce(Subquery(owners.values("email")[:1]), F("key"))
    return QueuePause.objects.annotate(name=name).order_by("-created_at", "-id")


def pause(scope: str, key: str, *, reason: str = "", actor: Profile | None = None) -> bool:
    """Pause; return False if it was paused already."""
    with transaction.atomic():
        _, is_new = QueuePause.objects.get_or_create(
            scope=scope, key=key, defaults={"reason": reason, "paused_by": str(actor or "")}
        )
        if is_new:
            _note(scope, key, "paused", actor)
    return is_new


def resume(scope: str, key: str, *, actor: Profile | None = None) -> bool:
    """Take a pause back; return False if there was none."""
    with transaction.atomic():
        count, _ = QueuePause.objects.filter(scope=scope, key=key).delete()
        if count:
            _note(scope, key, "resumed", actor)
    return bool(count)


def _note(scope: str, key: str, what: str, actor: Profile | None) -> None:
    global _read_at
    record_change(scope, key[:255], what, actor=actor)
    if scope == OWNER:
        # Their window has changed: `queue check` gives the sweeper its time from here.
        Profile.objects.filter(pk=key).update(updated_at=timezone.now())
    _read_at = 0.0
