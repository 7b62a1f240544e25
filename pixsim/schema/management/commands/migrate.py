"""Django's `migrate` with the guarantees of `manage.py db upgrade`: a lock timeout, one run at a time,
the hash of every file recorded, and another system's databases refused."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DatabaseError, connections
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    InvalidMigrationPlan,
    IrreversibleError,
    NodeNotFoundError,
)

from pixsim.core.cli.pipes import QuietOnClosedPipe
from pixsim.core.db.sessions import past_the_pooler
from pixsim.schema.connecting import explain
from pixsim.schema.dependents import add_dependents_argument, dependents_of, listing
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import load_migrations
from pixsim.schema.lock_retry import Wait
from pixsim.schema.locking import schema_lock
from pixsim.schema.ownership import add_foreign_argument, refuse_foreign
from pixsim.schema.reporting import add_lock_arguments, describe_wait, lock_policy_from
from pixsim.schema.running import Executor, Listener

INTERRUPTED = 130
DJANGOS_OWN = (
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    InvalidMigrationPlan,
    IrreversibleError,
    NodeNotFoundError,
)


class Command(QuietOnClosedPipe, migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_lock_arguments(parser)
        add_foreign_argument(parser)
        add_dependents_argument(parser)

    def execute(self, *args: Any, **options: Any) -> str | None:
        with past_the_pooler():
            return self._execute(*args, **options)

    def _execute(self, *args: Any, **options: Any) -> str | None:
        connection = connections[options["database"]]
        try:
            return super().execute(*args, **options)
        except SchemaError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        except DatabaseError as error:
            raise CommandError(explain(error, connection)) from error
        except DJANGOS_OWN as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as error:
            said = "Interrupted. What was committed before stays; the next run goes on."
            raise CommandError(said, returncode=INTERRUPTED) from error

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        wait = self.stdout.write if options["wait"] else None
        reads_only = options["plan"] or options["check_unapplied"]
        # Inside a transaction, as in a test, no lock is needed.
        alone = nullcontext() if reads_only or connection.in_atomic_block else None
        with alone or schema_lock(connection, wait=wait, say=self.stdout.write):
            loader = load_migrations(connection)
            refuse_foreign(connection, loader, ignore=options["ignore_alembic"])
            made: list[Executor] = []

            def executor(*args: Any) -> Executor:
                made.append(
                    Executor(
                        *args,
                        policy=lock_policy_from(Namespace(**options)),
                        listener=_Waits(self),
                        drop_dependents=options["drop_dependents"],
                    )
                )
                return made[-1]

            with _replaced(executor):
                super().handle(*args, **options)
            if options["plan"] and (found := dependents_of(connection, loader, made[-1].planned)):
                self.stdout.write(listing(found))


class _Waits(Listener):
    """Print the waits between the lines of `migrate`."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def waits(self, wait: Wait) -> None:
        if self._command.verbosity:
            self._command.stdout.write(f"\n{describe_wait(wait)}")


@contextmanager
def _replaced(executor: Any) -> Iterator[None]:
    """Make Django's command use our executor; it takes none as an argument."""
    names = vars(migrate)
    before, names["MigrationExecutor"] = names["MigrationExecutor"], executor
    try:
        yield
    finally:
        names["MigrationExecutor"] = before
