"""How often people may fail to log in: counted in the database, so for all web processes together.

Every way to log in with a password calls `begin` before it looks at the password, and `succeed`
after it was right. An attempt counts as failed from its beginning, so a thousand at once are no
more than a thousand one by one.

What was chosen. Each limit is over WINDOW:

- PAIR_LIMIT failures of one account from one address;
- ADDRESS_LIMIT failures from one address, whatever the accounts: guessing a common password at many;
- ACCOUNT_LIMIT failures of one account from all addresses, which then refuses only addresses that
  the account has not been used from in KNOWN. So attackers who guess an account from elsewhere do not
  lock out who uses it at home; who tries it for the first time from a new address waits with them.

An address is an IPv4 address, or the /64 network of an IPv6 one. Of accounts a keyed hash is kept: people
type passwords into the wrong input. An account that does not exist is counted like one that does,
and Django hashes the password for both.

django-allauth's own limits would count in the cache, which each web process has for itself here, and
without a lock. Its forms can call these two functions.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.models import LogInAttempt

WINDOW = timedelta(minutes=15)
KNOWN = timedelta(days=30)
PAIR_LIMIT = 5
ADDRESS_LIMIT = 20
ACCOUNT_LIMIT = 50

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class TooManyLogIns(Exception):
    """Too many log-ins failed. `seconds` is how long until another may be tried."""

    def __init__(self, again_at: datetime, *, now: datetime) -> None:
        self.seconds = max(1, int((again_at - now).total_seconds()) + 1)
        minutes = -(-self.seconds // 60)
        at = timezone.localtime(again_at + timedelta(minutes=1))
        super().__init__(
            f"Too many log-ins failed. Try again in {minutes} minute{'s' if minutes > 1 else ''}, "
            f"after {at:%H:%M %Z}."
        )


@dataclass(frozen=True)
class Attempt:
    """A log-in that has begun."""

    id: int
    account: str
    address: str


def begin(*, account: str, address: str) -> Attempt:
    """Count a log-in as failed until `succeed`. Raise TooManyLogIns if no more may be tried."""
    key = salted_hmac("accounts.throttling", account.casefold()).hexdigest()
    network = network_of(address)
    with transaction.atomic():
        with connection.cursor() as cursor:
            for name in sorted((f"account {key}", f"address {network}")):
                cursor.execute(LOCK, [f"log-in of {name}"])
        now = timezone.now()
        again_at = _again_at(key, network, now)
        if again_at is not None:
            raise TooManyLogIns(again_at, now=now)
        row = LogInAttempt.objects.create(account=key, address=network, at=now)
        LogInAttempt.objects.filter(has_succeeded=False, at__lt=now - WINDOW).delete()
    return Attempt(row.pk, key, network)


def succeed(attempt: Attempt) -> None:
    """The password was right: the address is one that the account is used from."""
    now = timezone.now()
    with transaction.atomic():
        LogInAttempt.objects.filter(
            Q(address=attempt.address) | Q(at__lt=now - KNOWN), account=attempt.account
        ).exclude(pk=attempt.id).delete()
        LogInAttempt.objects.filter(pk=attempt.id).update(has_succeeded=True, at=now)


def address_of(request: HttpRequest | None) -> str:
    """Return the address of the client, as this machine sees it or as the proxy in front says.

    Of the proxy's header only the last address counts: it is the one that the proxy has added.
    """
    meta = request.META if request else {}
    if settings.SECURE_PROXY_SSL_HEADER:
        forwarded = meta.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        if forwarded:
            return str(forwarded)
    return str(meta.get("REMOTE_ADDR") or "")


def network_of(address: str) -> str:
    """Return what attempts of an address are counted for; "" for no address, as of a socket."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    if found.version == 6 and mapped is None:
        return str(ip_network(f"{found}/64", strict=False))
    return str(mapped or found)


def _again_at(account: str, address: str, now: datetime) -> datetime | None:
    """Return when the strictest limit that is reached lets another attempt through."""
    of_account, of_address = Q(account=account), Q(address=address)
    limits: list[tuple[Q, int]] = [
        (of_account & of_address, PAIR_LIMIT),
        (of_address, ADDRESS_LIMIT),
    ]
    known = LogInAttempt.objects.filter(of_account & of_address, has_succeeded=True)
    if not known.filter(at__gt=now - KNOWN).exists():
        limits.append((of_account, ACCOUNT_LIMIT))
    failed = LogInAttempt.objects.filter(has_succeeded=False, at__gt=now - WINDOW)
    times = failed.order_by("-at").values_list("at", flat=True)
    # Of each limit that is reached, the failure that uses it up.
    reached = [
        at for condition, limit in limits for at in times.filter(condition)[limit - 1 : limit]
    ]
    return max(reached) + WINDOW if reached else None
