"""Whether the database answers, as what, and where its URL came from."""

from __future__ import annotations

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper


def place(connection: BaseDatabaseWrapper) -> str:
    """The database in words that a person recognises, without the password."""
    settings = connection.settings_dict
    host = settings["HOST"] or "the local socket"
    port = f":{settings['PORT']}" if settings["PORT"] else ""
    return f"{settings['NAME']!r} at {host}{port} as {settings['USER'] or 'the system user'}"


def explain(error: Error, connection: BaseDatabaseWrapper) -> str:
    """One message for a database error: what happened, and what to do next."""
    said = str(error).strip().partition("\n")[0]
    return f"Database {place(connection)}: {said}"
