"""Credentials, which SQL cannot convert: plain text becomes encrypted tokens, and back.

A token holds the exact text of the column, for json too. The plain text is removed from the older table
once ours has the token, so that no copy of it stays in the database. The tokens are kept beside the older
table, so that undoing does not depend on ours.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.utils import CursorWrapper
from django.views.decorators.debug import sensitive_variables

from pixsim.adoption.conversions import ENCRYPTED
from pixsim.adoption.copies import Copy
from pixsim.adoption.recognising import ORIGINALS
from pixsim.core.crypto import CredentialsUnreadable, cipher
from pixsim.schema.catalog import Table, quoted
from pixsim.schema.errors import SchemaError


class NoKey(SchemaError):
    """Credentials cannot be encrypted, or cannot be decrypted."""


TOKENS = f"{ORIGINALS}.adoption_tokens_"
"""Begins the name of the table with the tokens of an older one's secrets."""
PAGE = 500
"""Rows that are in memory at once."""


def secrets_of(copy: Copy) -> list[str]:
    """Return our encrypted columns that come from the older table."""
    return [name for name, way in copy.conversions.items() if way.why == ENCRYPTED]


def refuse_without_key() -> None:
    """Raise NoKey if nothing can be encrypted with CREDENTIALS_KEYS."""
    try:
        cipher.encrypt("")
    except ImproperlyConfigured as error:
        raise NoKey(f"{error} Nothing was changed.") from None


@sensitive_variables()
def encrypted(cursor: CursorWrapper, copy: Copy, original: str) -> Copy:
    """Return the copy with tokens instead of `original`'s secrets.

    Raise NoKey without CREDENTIALS_KEYS.
    """
    names = secrets_of(copy)
    if not names:
        return copy
    refuse_without_key()
    columns = ", ".join(f"{quoted(name)} text" for name in names)
    tokens = TOKENS + copy.table
    cursor.execute(f"CREATE TABLE {tokens} (id bigint PRIMARY KEY, {columns})")
    places = ", ".join(["%s"] * (len(names) + 1))
    for rows in _pages(cursor, original, names):
        cursor.executemany(
            f"INSERT INTO {tokens} VALUES ({places})",
            [
                (key, *(None if text is None else cipher.encrypt(text) for text in texts))
                for key, *texts in rows
            ],
        )
    cursor.execute(f"ANALYZE {tokens}")
    return replace(
        copy,
        source=f"{copy.source} LEFT JOIN {tokens} AS token ON token.id = o.id",
        values={
            name: f"token.{quoted(name)}" if name in names else value
            for name, value in copy.values.items()
        },
    )


def forget_plain_text(cursor: CursorWrapper, copy: Copy, original: Table, whole: str) -> None:
    """Empty the secrets of the older table, called `whole`."""
    if names := secrets_of(copy):
        # `null` is a value of json and of text.
        values = {n: "NULL" if original.columns[n].nullable else "'null'" for n in names}
        emptied = ", ".join(f"{quoted(name)} = {value}" for name, value in values.items())
        with _without_triggers(cursor, whole):
            cursor.execute(f"UPDATE {whole} SET {emptied}")


@sensitive_variables()
def bring_back(cursor: CursorWrapper, names: Sequence[str], original: Table, whole: str) -> None:
    """Write the plain text of the tokens back into the older table, called `whole`, and drop the
    tokens.

    Raise NoKey if the key of a token is missing.
    """
    sets = ", ".join(f"{quoted(name)} = %s::{original.columns[name].type}" for name in names)
    tokens = TOKENS + original.name
    with _without_triggers(cursor, whole):
        for rows in _pages(cursor, tokens, names):
            cursor.executemany(
                f"UPDATE {whole} SET {sets} WHERE id = %s",
                [(*_plain(names, original.name, texts), key) for key, *texts in rows],
            )
    cursor.execute(f"DROP TABLE {tokens}")


@sensitive_variables()
def fingerprint(cursor: CursorWrapper, name: str, table: str, *, is_encrypted: bool) -> int:
    """Return a checksum of the plain texts of one column."""
    total = 0
    for rows in _pages(cursor, table, [name]):
        for key, text in rows:
            (plain,) = _plain([name], table, [text]) if is_encrypted else (text,)
            digest = hashlib.sha256(f"{key} {plain is None} {plain}".encode()).digest()
            total += int.from_bytes(digest[:8])
    return total


@sensitive_variables()
def _plain(names: Sequence[str], table: str, texts: Sequence[str | None]) -> list[str | None]:
    try:
        return [
            None if text is None else cipher.decrypt(text, place=f"{table}.{name}")
            for name, text in zip(names, texts, strict=True)
        ]
    except (CredentialsUnreadable, ImproperlyConfigured) as error:
        raise NoKey(str(error)) from None


@contextmanager
def _without_triggers(cursor: CursorWrapper, table: str) -> Iterator[None]:
    """Disable the site's own triggers on the table within the block."""
    cursor.execute(
        "SELECT format('ALTER TABLE %%s ENABLE %%s TRIGGER %%I', tgrelid::regclass, CASE tgenabled"
        " WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END, tgname) FROM pg_trigger"
        " WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled <> 'D'",
        [table],
    )
    enable = [statement for (statement,) in cursor.fetchall()]
    if enable:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    for statement in enable:
        cursor.execute(statement)


def _pages(cursor: CursorWrapper, table: str, names: Sequence[str]) -> Iterator[list[Any]]:
    columns = ", ".join(f"{quoted(name)}::text" for name in names)
    last = None
    while True:
        cursor.execute(
            f"SELECT id, {columns} FROM {table} WHERE %s::bigint IS NULL OR id > %s"
            f" ORDER BY id LIMIT {PAGE}",
            [last, last],
        )
        rows = cursor.fetchall()
        if not rows:
            return
        yield rows
        last = rows[-1][0]
