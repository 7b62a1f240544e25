"""System checks of settings that are sound alone but not together, or inside. One Error a setting."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import Error, register
from django.core.exceptions import ImproperlyConfigured

from crawler.fetch.decoder import CPU_SECONDS
from pixsim.core.net import AddressPolicy

SHORTEST_LEASE = 3
"""A lease is renewed after a third of it, and the sweeper looks every second."""
HOST_LIMITS = {"concurrency": 1, "rate": 0}
"""What an entry of CRAWL_HOST_LIMITS may have, and the least value."""


@register()
def settings_fit(**kwargs: Any) -> list[Error]:
    """Return what is wrong, the name of the setting first."""
    return [Error(problem, id="pixsim.E001") for problem in _problems()]


def _problems() -> Iterator[str]:
    yield from _of_times()
    yield from _of_crawling()
    yield from _of_providers()


def _of_times() -> Iterator[str]:
    lease, stall = settings.QUEUE_LEASE_SECONDS, settings.QUEUE_STALL_SECONDS
    if lease < SHORTEST_LEASE:
        yield f"QUEUE_LEASE_SECONDS is {lease}: below {SHORTEST_LEASE} living workers lose their work."
    if stall < lease:
        yield f"QUEUE_STALL_SECONDS is {stall}, below QUEUE_LEASE_SECONDS ({lease})."
    longest = max(settings.CRAWL_TOTAL_TIMEOUT, 2 * CPU_SECONDS)
    if stall <= longest:
        yield (
            f"QUEUE_STALL_SECONDS is {stall}: a sound download or picture may take {longest:g} s "
            "(CRAWL_TOTAL_TIMEOUT), and its worker would count as stuck."
        )
    for name in ("CRAWL_CONNECT_TIMEOUT", "CRAWL_READ_TIMEOUT"):
        if getattr(settings, name) > settings.CRAWL_TOTAL_TIMEOUT:
            yield f"{name} is above CRAWL_TOTAL_TIMEOUT ({settings.CRAWL_TOTAL_TIMEOUT:g})."


def _of_crawling() -> Iterator[str]:
    if settings.CRAWL_MAX_BYTES > settings.CRAWL_IN_FLIGHT_BYTES:
        yield "CRAWL_MAX_BYTES is above CRAWL_IN_FLIGHT_BYTES: no such picture has room."
    try:
        AddressPolicy.from_settings()
    except ImproperlyConfigured as error:
        yield str(error)
    for host, limits in settings.CRAWL_HOST_LIMITS.items():
        if not isinstance(limits, dict) or not all(_is_limit(*each) for each in limits.items()):
            yield (
                f"CRAWL_HOST_LIMITS: {host} may have a concurrency from 1 up and a rate from 0 up, "
                "both numbers."
            )


def _is_limit(name: str, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return name in HOST_LIMITS and is_number and value >= HOST_LIMITS[name]


def _of_providers() -> Iterator[str]:
    for name, url in {"": settings.PUBLIC_URL, **settings.PROVIDER_BASE_URLS}.items():
        if url and not _is_web_address(url):
            setting = f"PROVIDER_BASE_URLS: {name}" if name else "PUBLIC_URL"
            yield f"{setting} must be an address that begins with https:// or http://."
    for name, given in settings.PROVIDER_WEBHOOK_SECRETS.items():
        every = given if isinstance(given, list) else [given]
        if not (every and all(isinstance(each, str) and each for each in every)):
            yield f"PROVIDER_WEBHOOK_SECRETS: {name} must have a secret, or a list of secrets."
    for number, key in enumerate(settings.CREDENTIALS_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            yield f"CREDENTIALS_KEYS: key {number} is no Fernet key; see .env.example to make one."


def _is_web_address(url: Any) -> bool:
    try:
        parts = urlsplit(url)
    except (ValueError, AttributeError):
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
