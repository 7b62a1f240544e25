"""DATABASE_URL and CELERY_BROKER_URL, checked and taken apart. No message quotes a part of one: where
a password is not escaped as URLs demand, every part may contain it.
"""

from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit, urlunsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from pixsim.core.private import make_folder

ESCAPED = "In a password / is written %2F, # is %23, ? is %3F, @ is %40, and % is %25."
FOREIGN_OPTIONS = {
    "schema": "leave schema out: the tables are found by the role's search_path, or write "
    "options=-csearch_path%3DNAME",
    "pgbouncer": "leave pgbouncer out: a connection pooler is noticed by itself",
    "connection_limit": "leave connection_limit out: it is another program's",
    "ssl": "write sslmode=require instead of ssl",
}
BROKERS = {
    "redis": "redis://:password@host:6379/0",
    "rediss": "rediss://:password@host:6379/0",
    "redis+socket": "redis+socket:///folder/redis.sock",
    "sentinel": "sentinel://:password@host:26379/0?master_name=NAME;sentinel://host2:26379",
    "amqp": "amqp://user:password@host:5672//",
    "amqps": "amqps://user:password@host:5671//",
    "filesystem": "filesystem:///folder",
}


NOTHING = urlsplit("")


def without_secrets(url: str) -> str:
    """Return scheme, host and path of a URL, without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://…@{parts.netloc.rpartition('@')[2]}{parts.path}"


def database_from_url(url: str, *, setting: str = "DATABASE_URL") -> dict[str, Any]:
    """Return the settings of the PostgreSQL database that `url` names. Raise ImproperlyConfigured,
    which names the `setting`.
    """
    parts = _split(url)
    if parts.scheme.startswith(("postgres+", "postgresql+")):
        raise ImproperlyConfigured(
            f"{setting} begins with postgresql:// alone, without the name of a driver."
        )
    if parts.scheme not in ("postgres", "postgresql"):
        raise ImproperlyConfigured(
            f"{setting} must name a PostgreSQL database: "
            f"postgres://user:password@host:5432/name. {ESCAPED}"
        )
    for name in parse_qs(parts.query, keep_blank_values=True):
        if name in FOREIGN_OPTIONS:
            raise ImproperlyConfigured(f"In {setting} {FOREIGN_OPTIONS[name]}.")
    database: dict[str, Any] = environ.Env.db_url_config(url)
    options = {"application_name": "pixsim", "connect_timeout": 10, **database.get("OPTIONS", {})}
    # A socket's folder: postgres://user@/name?host=/folder or postgres://user@%2Ffolder/name.
    database["HOST"] = options.pop("host", "") or unquote(database["HOST"])
    return {**database, "OPTIONS": options}


def broker_from_url(url: str, *, timeout: float) -> tuple[str, dict[str, Any]]:
    """Return the URL for Celery, and its transport options. Raise ImproperlyConfigured.

    Sending to a broker that does not answer within `timeout` seconds fails without a retry, so that
    a notification never delays a request. Workers reconnect by themselves, without an end.
    """
    parts = [_split(each) for each in url.split(";")]
    scheme = parts[0].scheme
    if scheme == "unix":
        raise ImproperlyConfigured(
            f"CELERY_BROKER_URL: write {BROKERS['redis+socket']} for a socket."
        )
    if scheme not in BROKERS or any(part.scheme != scheme for part in parts):
        raise ImproperlyConfigured(
            f"CELERY_BROKER_URL must look like one of these: {', '.join(BROKERS.values())}. {ESCAPED}"
        )
    if scheme == "filesystem":
        return url, _folders(Path(parts[0].path))
    options: dict[str, Any] = {"max_retries": 0, "interval_start": 0}
    if scheme.startswith("amqp"):
        return url, options
    options |= {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    return (url, options) if scheme != "sentinel" else _sentinels(parts, options)


def _sentinels(parts: list[SplitResult], options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    names = [name for part in parts for name in parse_qs(part.query).get("master_name", [])]
    if len(set(names)) != 1:
        raise ImproperlyConfigured(
            f"CELERY_BROKER_URL must name the master: {BROKERS['sentinel']}."
        )
    plain = ";".join(urlunsplit(part._replace(query="")) for part in parts)
    sentinel = {key: options[key] for key in ("socket_connect_timeout", "socket_timeout")}
    return plain, {**options, "master_name": names[0], "sentinel_kwargs": sentinel}


def _folders(folder: Path) -> dict[str, Any]:
    queue, done = folder / "queue", folder / "done"
    for each in (queue, done):
        try:
            make_folder(each)
        except OSError as error:
            raise ImproperlyConfigured(
                f"The folder {each} of CELERY_BROKER_URL cannot be made ({error.strerror})."
            ) from error
    return {
        "data_folder_in": str(queue),
        # Clients write to the folder from which workers read.
        "data_folder_out": str(queue),
        "processed_folder": str(done),
        "control_folder": str(folder / "control"),
        "store_processed": False,
        "polling_interval": 0.02,
    }


def _split(url: str) -> SplitResult:
    """Return the parts; empty ones if the URL cannot be what was meant."""
    try:
        parts = urlsplit(url)
        # The port of several hosts is that of each: none of them is read here.
        if "," not in parts.netloc:
            parts.port  # noqa: B018  raises if it is no number
    except ValueError:
        return NOTHING
    # What stands before the @ was cut at a / or ?.
    is_cut = "@" not in parts.netloc and "@" in parts.path + parts.query
    return NOTHING if parts.fragment or is_cut else parts
