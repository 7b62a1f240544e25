"""The server of a database, sessions beside a connection, and a message for each kind of error."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.core.db.sessions import goes_past_the_pooler, is_pooled
from pixsim.schema.errors import SchemaError
from pixsim.schema.refusals import refusal_code

OLDEST = 14
"""The oldest PostgreSQL that is supported."""

SERVER = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
       pg_database_size(current_database()), pg_is_in_recovery(),
       current_setting('default_transaction_read_only') = 'on'
"""

REFUSING_SCHEMAS = """
SELECT nspname, quote_ident(nspname) FROM pg_namespace
WHERE NOT (has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE'))
ORDER BY length(nspname) DESC
"""
NOT_LET_IN, INSUFFICIENT_PRIVILEGE, UNDEFINED_OBJECT = "28000", "42501", "42704"
SEVERITY = re.compile(r"^[^:]{1,20}:\s\s")
"""What the server's sentence begins with, like FATAL, in its language."""
IDENTITY = """
SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database())
FROM pg_control_system()
"""
"""Which database of which server, however it is reached."""


class NoSession(SchemaError):
    """The connection has no session of its own; nothing was asked of the one it has."""


class ServerTooOld(SchemaError):
    """The server is older than the oldest supported version."""


@dataclass(frozen=True)
class Server:
    """A database that answers."""

    version: str
    size: int
    """Of this database, in bytes."""
    is_replica: bool
    is_read_only: bool
    """Nothing can be written: a replica, or a session that starts read-only."""


@dataclass(frozen=True)
class ErrorKind:
    """A kind of database error: how to recognise it, and the message.

    Of a refused connection the client library keeps no SQLSTATE, only a sentence: its own, or the
    server's, which may be in any language.
    """

    message: str
    """May contain {place}, {name}, {user}, {said} and {object}, a schema that refuses the user."""
    codes: Sequence[str] = ()
    """SQLSTATEs, or their beginnings."""
    sentences: Sequence[str] = ()
    needs_object: bool = False
    """Whether it is only this kind if {object} is known."""


ERROR_KINDS = (
    ErrorKind(
        "There is no database {name!r} on this server ({place}). Make it with `createdb`, or name "
        "the right one in DATABASE_URL.",
        codes=["3D000"],
        sentences=['database "{name}" does not exist'],
    ),
    ErrorKind(
        "The password of {user!r} is wrong or missing ({place}). Put the right one into "
        "DATABASE_URL.",
        codes=["28P01"],
        sentences=["password authentication failed", "no password supplied"],
    ),
    ErrorKind(
        "{user!r} may not connect ({place}): {said}. Name another user in DATABASE_URL, or have "
        "the server's owner let this one in (CREATE ROLE, pg_hba.conf, GRANT CONNECT).",
        codes=[NOT_LET_IN],
        sentences=[
            'role "{user}" does not exist',
            "no pg_hba.conf entry",
            "is not permitted to log in",
            "permission denied for database",
        ],
    ),
    ErrorKind(
        "The server takes no more connections ({place}). End some, or raise max_connections, then "
        "try again.",
        codes=["53300"],
        sentences=["too many connections", "too many clients", "remaining connection slots"],
    ),
    ErrorKind(
        "The server is starting or stopping ({place}): {said}. Try again in a moment.",
        codes=["57P03"],
        sentences=["the database system is"],
    ),
    ErrorKind(
        "No PostgreSQL answers at {place}: {said}. Start it, or correct host and port in "
        "DATABASE_URL.",
        codes=["08001", "08004"],
        sentences=[
            "Connection refused",
            "No such file or directory",
            "failed to resolve host",
            "could not translate host name",
            "timeout expired",
            "connection timeout",
            "No route to host",
            "Network is unreachable",
        ],
    ),
    ErrorKind(
        "A connection pooler refuses what the connection asks for as it begins ({place}): {said}. Take "
        "it out of DATABASE_URL; ALTER ROLE … SET does the same for every session.",
        sentences=["unsupported startup parameter"],
    ),
    ErrorKind(
        "The server is too old ({place}): {said}. Nothing was changed. Upgrade it (pg_upgrade, or "
        "dump and restore).",
        sentences=["or later is required"],
    ),
    ErrorKind(
        "{place} is read-only: a replica, or default_transaction_read_only is on. Nothing was "
        "changed. Name the primary in DATABASE_URL.",
        codes=["25006"],
    ),
    ErrorKind(
        "{user!r} may not do this in {place}: {said}. What was not committed was undone. Have the "
        'owner of the database say: GRANT USAGE, CREATE ON SCHEMA {object} TO "{user}";',
        codes=["42501"],
        needs_object=True,
    ),
    ErrorKind(
        "{user!r} may not do this in {place}: {said}. What was not committed was undone. Connect "
        "as the owner of the tables, or have the owner GRANT it.",
        codes=["42501"],
    ),
    ErrorKind(
        "The disk of the server is full ({place}): {said}. What was not committed was undone. Free "
        "space, then run it again.",
        codes=["53100"],
    ),
    ErrorKind(
        "The server has not enough memory or other means ({place}): {said}. What was not committed "
        "was undone.",
        codes=["53"],
    ),
    ErrorKind(
        "A lock was not given in time ({place}): {said}. What was not committed was undone. Run it "
        "again when the database is quieter.",
        codes=["55P03", "40P01"],
    ),
    ErrorKind(
        "A statement was stopped ({place}): {said}. What was not committed was undone. If nobody "
        "cancelled it, a time limit did: look with SHOW statement_timeout, lift it with ALTER ROLE "
        '"{user}" SET statement_timeout = 0, then run it again.',
        codes=["57014"],
    ),
    ErrorKind(
        "The server ended the session for a time limit ({place}): {said}. What was not committed "
        'was undone. Lift it with ALTER ROLE "{user}" SET idle_in_transaction_session_timeout = 0 '
        "(or transaction_timeout, idle_session_timeout), then run it again.",
        codes=["25P03", "25P04", "57P05"],
    ),
    ErrorKind(
        "The connection was lost ({place}): {said}. What was not committed was undone; look with "
        "`manage.py db status`.",
        codes=["08", "57P01", "57P02"],
        sentences=["server closed the connection", "connection is closed", "connection is lost"],
    ),
    ErrorKind(
        "{place} has already what was to be made: {said}. `manage.py db verify` says what differs; "
        "if all of it is there and only the record is missing, `manage.py db stamp` writes it.",
        codes=["42701", "42P07", "42710"],
    ),
    ErrorKind(
        "Rows in {place} do not fit: {said}. Mend or remove them, then run it again.",
        codes=["23"],
    ),
    ErrorKind(
        "The search path in {place} leads to no schema in which tables can be made: {said}. Nothing was "
        "changed. `SHOW search_path` says where it leads; make that schema, or name another with ALTER "
        "DATABASE … SET search_path or ALTER ROLE … SET search_path.",
        codes=["3F000"],
    ),
    ErrorKind(
        "{place} is not as the code expects it: {said}. See `manage.py db status` and `manage.py "
        "db verify`.",
        codes=["42P01", "42703", "42704"],
    ),
)
"""The first one that matches is used."""


@contextmanager
def session_beside(
    connection: BaseDatabaseWrapper, alias: str, **settings: Any
) -> Iterator[BaseDatabaseWrapper]:
    """Open a second session with changed settings, under an alias that exists only in the block."""
    connections.databases[alias] = deepcopy(connection.settings_dict) | {
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        **settings,
    }
    try:
        with closing(connections[alias]) as session:
            yield session
    finally:
        del connections[alias]
        del connections.databases[alias]


@contextmanager
def session_named(connection: BaseDatabaseWrapper, name: str) -> Iterator[None]:
    """Set the session's application_name for the block: another session sees it beside its locks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [name])
    try:
        yield
    finally:
        if connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("RESET application_name")


@contextmanager
def only_database(alias: str, *, refusal: type[SchemaError] = SchemaError) -> Iterator[None]:
    """Raise `refusal` for statements of this thread to any other database than `alias`.

    A data step that does not use the database it is applied to must not change the real one.
    """

    def refuse(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        raise refusal(
            f"A migration used the database {context['connection'].alias!r} instead of the one it is "
            f"applied to (schema_editor.connection). Nothing was done there. Mend that migration."
        )

    with ExitStack() as stack:
        for other in set(connections) - {alias}:
            stack.enter_context(connections[other].execute_wrapper(refuse))
        yield


def look(connection: BaseDatabaseWrapper) -> Server:
    """Return what answers. Raise DatabaseError if nothing does, ServerTooOld for an old server."""
    with connection.cursor() as cursor:
        cursor.execute(SERVER)
        number, version, size, is_replica, is_read_only = cursor.fetchone()
    refuse_old(number)
    return Server(
        version=version.split()[0],
        size=size,
        is_replica=is_replica,
        is_read_only=is_replica or is_read_only,
    )


def refuse_old(number: int) -> None:
    """Raise ServerTooOld if `number`, as in `server_version_num`, is before PostgreSQL 14."""
    if number < OLDEST * 10000:
        raise ServerTooOld(
            f"The server is PostgreSQL {number // 10000}; {OLDEST} is the oldest that works. "
            f"Nothing was changed. Upgrade the server (pg_upgrade, or dump and restore)."
        )


def require_own_session(connection: BaseDatabaseWrapper) -> None:
    """Raise NoSession if a pooler lends the session for a transaction at a time, or if
    DATABASE_DIRECT_URL leads to another database than DATABASE_URL.

    Called before anything that would stay in the session: a lock, a setting.
    """
    if why := why_no_session(connection):
        raise NoSession(f"{why} Nothing was changed.")


def why_no_session(connection: BaseDatabaseWrapper) -> str:
    """Return why `require_own_session` refuses the connection, and the remedy; else an empty text."""
    is_direct = connection.alias == DEFAULT_DB_ALIAS and goes_past_the_pooler()
    if is_pooled(connection):
        remedy = _remedy(connection.alias, is_direct)
        return f"{place(connection)} is a connection pooler, and this needs a session of its own. {remedy}"
    return _why_another_database(connection) if is_direct else ""


def _remedy(alias: str, is_direct: bool) -> str:
    if is_direct:
        return "Let DATABASE_DIRECT_URL name PostgreSQL itself."
    if alias == DEFAULT_DB_ALIAS:
        return "Set DATABASE_DIRECT_URL to the address of PostgreSQL itself; DATABASE_URL may stay."
    return f"Name PostgreSQL itself in settings.DATABASES[{alias!r}]."


def _why_another_database(direct: BaseDatabaseWrapper) -> str:
    """Return why the direct connection's database may not be that of DATABASE_URL, if it may not."""
    with closing(connections.create_connection(direct.alias)) as usual:
        try:
            with usual.cursor() as cursor:
                cursor.execute(IDENTITY)
                expected = cursor.fetchone()
        except DatabaseError as error:
            return f"What DATABASE_DIRECT_URL names cannot be compared. {explain(error, usual)}"
        with direct.cursor() as cursor:
            cursor.execute(IDENTITY)
            if cursor.fetchone() == expected:
                return ""
        return f"DATABASE_DIRECT_URL names {place(direct)}, another database than {place(usual)}."


def place(connection: BaseDatabaseWrapper) -> str:
    """Return a description of the database for people, without the password."""
    where = connection.settings_dict
    host = where["HOST"] or "the local socket"
    port = f":{where['PORT']}" if where["PORT"] else ""
    return f"{where['NAME']!r} at {host}{port} as {where['USER'] or 'the system user'}"


def origin(alias: str) -> str:
    """Return the setting that the URL of the database came from."""
    if alias == DEFAULT_DB_ALIAS and goes_past_the_pooler():
        return "DATABASE_DIRECT_URL"
    if alias == DEFAULT_DB_ALIAS:
        return str(getattr(settings, "DATABASE_URL_ORIGIN", "settings.DATABASES"))
    return f"settings.DATABASES[{alias!r}]"


def disagreement(alias: str) -> str:
    """Return a warning if two settings name different databases, else an empty text."""
    return str(getattr(settings, "DATABASE_URL_WARNING", "")) if alias == DEFAULT_DB_ALIAS else ""


def explain(error: Error, connection: BaseDatabaseWrapper) -> str:
    """Return one message for a database error: what happened, and what to do next."""
    if isinstance(error, CommandError):
        return str(error)
    report = _report(error)
    code = getattr(report, "sqlstate", None) or ""
    sentence = _sentence(report or error)
    words = {
        "place": place(connection),
        "name": connection.settings_dict["NAME"],
        "user": connection.settings_dict["USER"],
        "said": f"{sentence}{_more(report)}",
        "object": _refusing_schema(sentence, connection) if code == INSUFFICIENT_PRIVILEGE else "",
    }
    kind = _kind(code, str(error), words)
    if not kind and not code and connection.connection is None:
        refused = refusal_code(connection)
        # A right that is missing here is that to connect.
        kind = _kind(NOT_LET_IN if refused == INSUFFICIENT_PRIVILEGE else refused, "", words)
    return (kind.message if kind else "Database {place}: {said}.").format(**words)


def _kind(code: str, text: str, words: dict[str, str]) -> ErrorKind | None:
    for kind in ERROR_KINDS:
        sentences = [sentence.format(**words) for sentence in kind.sentences]
        if kind.needs_object and not words["object"]:
            continue
        if code.startswith(tuple(kind.codes)) if code else any(each in text for each in sentences):
            return kind
    return None


def _refusing_schema(sentence: str, connection: BaseDatabaseWrapper) -> str:
    """Return the schema, quoted, that the sentence names and in which the user may make nothing; empty
    if there is none, or the session cannot be asked."""
    if connection.in_atomic_block or not connection.is_usable():
        return ""
    with connection.cursor() as cursor:
        cursor.execute(REFUSING_SCHEMAS)
        for name, full in cursor.fetchall():
            # Some languages write no space before or after a name.
            if re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", sentence):
                return str(full)
    return ""


def _report(error: BaseException) -> psycopg.Error | None:
    """Return what the client library raised, of which Django made the error. Some errors of Django's
    own were made of one of Django's."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
        if isinstance(error, psycopg.Error):
            return error
    return None


def _sentence(error: Exception) -> str:
    """Return the server's own sentence, without the text that the client library adds."""
    said = str(error).strip().partition("\n")[0]
    if said.startswith(("connection failed", "connection is bad")):
        said = said.rpartition(" failed: ")[2]
    return SEVERITY.sub("", said).strip().rstrip(".:")


def _more(report: psycopg.Error | None) -> str:
    """Return the server's detail, such as the duplicate key, and its hint; it may be empty."""
    if report is None:
        return ""
    more = [report.diag.message_detail, report.diag.message_hint]
    said = " ".join(" ".join(text.split()).rstrip(".") + "." for text in more if text)
    return f" ({said.removesuffix('.')})" if said else ""
