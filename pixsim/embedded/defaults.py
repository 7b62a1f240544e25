"""The URLs of the embedded services, computed for the settings without starting anything."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from pixsim.embedded.paths import PathsError, paths_for
from pixsim.embedded.postgres import DATABASE, USER
from pixsim.embedded.redis import SOCKET_NAME, find_redis


def embedded_defaults(
    home: Path, *, database_url: str, broker_url: str
) -> tuple[str, str, list[str]]:
    """Fill in the URL that is empty, or both, with the embedded services of PIXSIM_HOME = `home`.

    Return the database URL, the broker URL and which servers they need ("postgres", "redis").
    Without a Redis to run, Celery's filesystem broker needs no server.
    """
    if os.name == "nt":
        if not database_url:
            raise ImproperlyConfigured(
                "DATABASE_URL is not set, and the embedded PostgreSQL runs on Linux and macOS only."
            )
        return database_url, f"filesystem:///{(home / 'broker').as_posix()}", []
    try:
        paths = paths_for(home)
    except PathsError as error:
        raise ImproperlyConfigured(str(error)) from error
    services = []
    if not database_url:
        database_url = f"postgres://{USER}@/{DATABASE}?host={paths.sockets}"
        services.append("postgres")
    if not broker_url and find_redis():
        broker_url = f"redis+socket://{paths.sockets / SOCKET_NAME}"
        services.append("redis")
    return database_url, broker_url or f"filesystem://{home / 'broker'}", services
