"""The base of all commands: exit codes, errors as one line instead of a traceback, and arguments."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError
from django.db.models import Model
from psycopg.errors import (
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
    UndefinedColumn,
    UndefinedTable,
)

from pixsim.core.cli.pipes import QuietOnClosedPipe
from pixsim.core.formats import first_line
from pixsim.core.text import unfit


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    """Done; of a job without --wait: accepted."""
    FAILED = 1
    """Refused in the present state, or failed; of a check: something is wrong."""
    USAGE = 2
    """Wrong input, named in the message; nothing was changed. Of `queue`: it could not run."""
    NOT_COMPLETE = 3
    """The job ended short, failed or goes on; the export or the service is not there."""
    INTERRUPTED = 130
    """Ctrl-C."""


class UsageError(CommandError):
    """Wrong input. The message begins with the field to correct; nothing was changed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=ExitCode.USAGE)


class Command(QuietOnClosedPipe, BaseCommand):
    """A command that says in one line, without a traceback, why the database cannot be used."""

    requires_system_checks = []
    database_exit_code: ClassVar[int] = ExitCode.FAILED

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            with database_errors(exit_code=self.database_exit_code):
                return super().execute(*args, **options)
        except KeyboardInterrupt as error:
            raise CommandError(
                "Interrupted. What was done before stays.", returncode=ExitCode.INTERRUPTED
            ) from error

    def print_json(self, value: dict[str, Any], *, indent: int | None = None) -> None:
        self.stdout.write(json.dumps(value, cls=DjangoJSONEncoder, indent=indent))


@contextmanager
def database_errors(outcome: str = "", *, exit_code: int = ExitCode.FAILED) -> Iterator[None]:
    """Raise CommandError for a database that does not answer, lacks our tables or refuses the user.

    `outcome` is a sentence that says what was not done.
    """
    said = f"{outcome} " if outcome else ""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        message = (
            str(error)
            if isinstance(error, CommandError)  # of the embedded services, complete as it is
            else f"The database does not answer: {first_line(error)}. Check DATABASE_URL and that "
            "PostgreSQL runs, then try again."
        )
        raise CommandError(f"{said}{message}", returncode=exit_code) from error
    except InternalError as error:
        if not isinstance(error.__cause__, ReadOnlySqlTransaction):
            raise
        raise CommandError(
            f"{said}The database is read-only: {first_line(error)}. It is a replica, or "
            "default_transaction_read_only is on: name the primary in DATABASE_URL.",
            returncode=exit_code,
        ) from error
    except ProgrammingError as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            raise CommandError(
                f"{said}The user of DATABASE_URL may not do this: {first_line(error)}. Name the owner "
                "of the tables there, or have the owner GRANT it.",
                returncode=exit_code,
            ) from error
        if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
            raise
        raise CommandError(
            f"{said}The database lacks tables of this version: {first_line(error)}. Run "
            "`manage.py migrate` first.",
            returncode=exit_code,
        ) from error


def add_json_flag(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def check_fits(flag: str, text: str, model: type[Model], column: str) -> None:
    """Raise UsageError if the model's column does not hold the text."""
    longest = getattr(model._meta.get_field(column), "max_length", None)
    if longest is not None and (why := unfit(text, longest)):
        raise UsageError(f"{flag}: {why}.")


def positive_seconds(text: str) -> float:
    """Return an argument as seconds. Raise ArgumentTypeError if they are not a number above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError(f"must be a number of seconds greater than 0, not {text!r}")
    return seconds


def split_pair(flag: str, text: str, *, form: str = "NAME=VALUE") -> tuple[str, str]:
    """Return name and value of an argument. Raise UsageError if one of them is missing."""
    name, _, value = text.partition("=")
    if not name or "=" not in text or (form == "NAME=PATH" and not value):
        raise UsageError(f"{flag}: must be {form}, not {text!r}")
    return name, value
