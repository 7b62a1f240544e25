"""SQL from one of PostgreSQL's programs into psql, with this process between the two."""

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema.errors import SchemaError
from pixsim.schema.programs import (
    environment,
    find_program,
    first_error,
    server_error,
    server_major,
)

SESSION = "pixsim load"
"""What psql's session is called."""
OWNERS = re.compile(
    rb"^.*STATEMENT:  .*(?: OWNER TO |GRANT |REVOKE |DEFAULT PRIVILEGES )", re.MULTILINE
)
"""How psql repeats a statement of a dump about owners and grants."""
TABLESPACES = re.compile(rb"^.*STATEMENT:  SET default_tablespace ", re.MULTILINE)
CHUNK = 1024 * 1024
PREAMBLE_LINES = 50
TRANSACTION_TIMEOUT_SINCE = 17


class NotLoaded(SchemaError):
    """One of the programs failed; the message says why."""

    def __init__(
        self,
        program: str,
        why: str,
        *,
        code: str = "",
        about_owners: bool = False,
        about_tablespaces: bool = False,
    ) -> None:
        self.code = code
        """The server's SQLSTATE, if it was the server that refused."""
        self.about_owners = about_owners
        """Whether it was about somebody's right to an object."""
        self.about_tablespaces = about_tablespaces
        super().__init__(f"{program} failed: {why}.")


@dataclass(frozen=True)
class Script:
    """A program that writes SQL."""

    command: Sequence[str | Path]
    environment: dict[str, str]


def load(
    connection: BaseDatabaseWrapper,
    script: Script,
    *,
    database: str | None = None,
    on_lines: Callable[[int], None] = lambda lines: None,
) -> None:
    """Run what `script` writes in the database, or in another `database` of the same server.

    `on_lines` gets the number of sent lines; a row of a table is one. Raise NotLoaded if either
    program fails; a script in one transaction is undone then, as psql ends without COMMIT.
    """
    major = server_major(connection)
    psql = find_program("psql", at_least=major)
    command: list[str | Path] = [
        psql.path,
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        "--set=ON_ERROR_STOP=1",
        "--set=VERBOSITY=verbose",
        "--echo-errors",
    ]
    into = {**environment(connection, database=database), "PGAPPNAME": SESSION}
    with (
        TemporaryFile() as written,
        TemporaryFile() as answered,
        _piped(script, command, into, written, answered) as (source, target),
    ):
        try:
            _send(source.stdout, target.stdin, major, on_lines)
        except BrokenPipeError:
            source.kill()
        if target.wait():
            code, why = server_error(answered)
            raise NotLoaded(
                str(psql),
                why,
                code=code,
                about_owners=_said(OWNERS, answered),
                about_tablespaces=_said(TABLESPACES, answered),
            )
        if source.wait():
            raise NotLoaded(Path(script.command[0]).stem, first_error(written))


def _said(pattern: re.Pattern[bytes], answered: IO[bytes]) -> bool:
    answered.seek(0)
    return pattern.search(answered.read()) is not None


@contextmanager
def _piped(
    script: Script,
    command: Sequence[str | Path],
    into: dict[str, str],
    written: IO[bytes],
    answered: IO[bytes],
) -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """Start both programs, and end both after the block."""
    source = subprocess.Popen(
        script.command, stdout=subprocess.PIPE, stderr=written, env=script.environment
    )
    try:
        target = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=answered,
            env=into,
        )
        try:
            yield source, target
        finally:
            target.kill()
            target.wait()
    finally:
        source.kill()
        source.wait()
        if source.stdout:
            source.stdout.close()


def _send(
    source: IO[bytes] | None, target: IO[bytes] | None, major: int, on_lines: Callable[[int], None]
) -> None:
    assert source is not None  # noqa: S101  pipes were asked for
    assert target is not None  # noqa: S101
    lines = 0
    with target:
        for line in _preamble(source, major):
            target.write(line)
        while chunk := source.read(CHUNK):
            target.write(chunk)
            lines += chunk.count(b"\n")
            on_lines(lines)


def _preamble(source: IO[bytes], major: int) -> Iterator[bytes]:
    """Yield the first lines, without the setting that newer programs write and older servers do not
    know."""
    for _ in range(PREAMBLE_LINES):
        line = source.readline()
        if major >= TRANSACTION_TIMEOUT_SINCE or not line.startswith(b"SET transaction_timeout"):
            yield line
