"""The entries of a dump in pg_dump's custom format, and those that are left to what is there.

A dump says CREATE EXTENSION, comments on extensions and schemas, and what was changed in the objects of an
extension. Often only a superuser may, though everything else needs no rights but the application's.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema.catalog import quoted
from pixsim.schema.contents import place_for_tables
from pixsim.schema.programs import Program

# As in "224; 1259 16594 TABLE public books app"; the first number of the pair is not zero where
# the entry makes something.
EXTENSION = re.compile(r"\d+; \d+ \d+ EXTENSION - (?P<name>\S+)")
ABOUT_EXTENSION = re.compile(r"\d+; \d+ \d+ (COMMENT|ACL|SECURITY LABEL) - EXTENSION ")
MAKES = re.compile(
    r"\d+; [1-9]\d* \d+ (?:FOREIGN TABLE|TABLE|MATERIALIZED VIEW|VIEW|SEQUENCE|FUNCTION|PROCEDURE|"
    r"AGGREGATE|TYPE|DOMAIN|PROCEDURAL LANGUAGE|FOREIGN DATA WRAPPER|SERVER) (?P<thing>.*)"
)
MAKES_SCHEMA = re.compile(r"\d+; \d+ \d+ SCHEMA - (?P<name>.*) \S*")
ABOUT_SCHEMA = re.compile(r"\d+; \d+ \d+ (?:COMMENT|ACL|SECURITY LABEL) - SCHEMA (?P<name>.*) \S*")
OF_RELATION = re.compile(
    r"\d+; \d+ \d+ (?:TABLE DATA|SEQUENCE SET|ROW SECURITY|POLICY) (?P<thing>.*)"
)
GRANTS = re.compile(
    r"\d+; \d+ \d+ (?:ACL|SECURITY LABEL) (?P<schema>.*?) (?:FUNCTION|PROCEDURE|TABLE|SEQUENCE|COLUMN|"
    r"TYPE|DOMAIN|LANGUAGE|FOREIGN DATA WRAPPER|FOREIGN SERVER|VIEW|AGGREGATE) (?P<name>.*)"
)

EXTENSIONS = "SELECT extname, extversion FROM pg_extension WHERE extname <> 'plpgsql'"
SCHEMAS = "SELECT nspname, pg_has_role(nspowner, 'USAGE') FROM pg_namespace"


@dataclass(frozen=True)
class Missing:
    """An extension of the dump that is not in the database, and that the user may not make."""

    name: str
    command: str
    """What makes it."""
    why: str
    """The server's words."""

    def __str__(self) -> str:
        return f"the extension {self.name} ({self.why}): {self.command}"


@dataclass(frozen=True)
class Choice:
    """The entries of a dump that a database takes."""

    lines: list[str] = field(repr=False)
    missing: list[Missing]
    left: list[str]
    """Grants, rows and comments that concern what is there, or what is missing."""


def extensions(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return the version of each extension, without the one that every database has."""
    with connection.cursor() as cursor:
        cursor.execute(EXTENSIONS)
        return dict(cursor.fetchall())


def choose(connection: BaseDatabaseWrapper, pg_restore: Program, dump: Path) -> Choice:
    """Return what of the dump this database takes, as far as its extensions and schemas decide it."""
    lines = _entries(pg_restore, dump)
    there = extensions(connection)
    names = [found["name"] for line in lines if (found := EXTENSION.match(line))]
    refused = {
        name: why for name in names if name not in there and (why := _refusal(connection, name))
    }
    commands = _commands(pg_restore, dump, [line for line in lines if EXTENSION.match(line)])
    with connection.cursor() as cursor:
        cursor.execute(SCHEMAS)
        schemas = dict(cursor.fetchall())
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")
        is_superuser = cursor.fetchone()[0]
    # A superuser who makes all of them anew makes them as they were.
    anew = is_superuser and not refused and not there.keys() & set(names)
    of_extensions = set() if anew else set(_of_extensions(lines))
    kept, left = [], []
    for line in lines:
        if found := EXTENSION.match(line):
            if found["name"] not in there and found["name"] not in refused:
                kept.append(line)
        elif line in of_extensions or _is_there(line, schemas):
            left += [] if MAKES_SCHEMA.match(line) else [line.split(" ", 3)[3].rpartition(" ")[0]]
        elif anew or not ABOUT_EXTENSION.match(line):
            kept.append(line)
    missing = [
        Missing(name, commands.get(name, f"CREATE EXTENSION {quoted(name)};"), why)
        for name, why in refused.items()
    ]
    return Choice(kept, missing, left)


@contextmanager
def listed(lines: Iterable[str]) -> Iterator[Path]:
    """Write the entries to a file, for pg_restore's --use-list."""
    with NamedTemporaryFile(prefix="pixsim-", suffix=".list") as file:
        file.write(("\n".join(lines) + "\n").encode(errors="surrogateescape"))
        file.flush()
        yield Path(file.name)


def _entries(pg_restore: Program, dump: Path) -> list[str]:
    shown = subprocess.run([pg_restore.path, "--list", dump], capture_output=True, check=True)
    lines = shown.stdout.decode(errors="surrogateescape").splitlines()
    return [line for line in lines if line and not line.startswith(";")]


def _commands(pg_restore: Program, dump: Path, lines: Sequence[str]) -> dict[str, str]:
    """Return the CREATE EXTENSION of each extension as the dump has it, with its schema."""
    with listed(lines) as names:
        command: list[str | Path] = [pg_restore.path, "--file=-", f"--use-list={names}", dump]
        shown = subprocess.run(command, capture_output=True, check=True) if lines else None
    script = shown.stdout.decode(errors="replace") if shown else ""
    found = re.findall(r'^(CREATE EXTENSION IF NOT EXISTS ("[^"]+"|\S+).*;)$', script, re.MULTILINE)
    return {name.strip('"'): command for command, name in found}


def _refusal(connection: BaseDatabaseWrapper, name: str) -> str:
    """Return why the user may not make the extension here; empty if it can be made.

    Tried, and undone: what a role may, many servers decide in their own way.
    """
    schema = place_for_tables(connection)
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            if schema:
                cursor.execute("SELECT set_config('search_path', %s, true)", [quoted(schema)])
            cursor.execute(f"CREATE EXTENSION {quoted(name)} CASCADE")
            transaction.set_rollback(True, using=connection.alias)
    except DatabaseError as error:
        return str(error).strip().partition("\n")[0]
    return ""


def _of_extensions(lines: Sequence[str]) -> Iterator[str]:
    """Yield the entries that change something which no entry makes: an extension does."""
    made = {_key(found["thing"]) for line in lines if (found := MAKES.match(line))}
    for line in lines:
        if found := OF_RELATION.match(line):
            thing = _key(found["thing"])
        elif found := GRANTS.match(line):
            thing = _key(f"{found['schema']} {found['name']}")
        else:
            continue
        if thing not in made and not _is_part(thing, made):
            yield line


def _is_part(thing: str, made: set[str]) -> bool:
    """Return whether it is a column or a policy of something made: `public books.id app`."""
    name, _, owner = thing.rpartition(" ")
    ends = [at for at, letter in enumerate(name) if letter in ". "]
    return any(f"{name[:end]} {owner}" in made for end in ends)


def _is_there(line: str, schemas: Mapping[str, bool]) -> bool:
    """Return whether it makes a schema that is there, or changes one that is somebody else's."""
    if found := MAKES_SCHEMA.fullmatch(line):
        return _plain(found["name"]) in schemas
    found = ABOUT_SCHEMA.fullmatch(line)
    return found is not None and not schemas.get(_plain(found["name"]), True)


def _key(text: str) -> str:
    """Return the name without arguments, whose names only some entries have, and quotes."""
    return _plain(re.sub(r"\(.*\)", "", text))


def _plain(text: str) -> str:
    return text.replace('"', "")
