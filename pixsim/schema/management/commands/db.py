"""`manage.py db <verb>`: the schema of the database, with Alembic's verbs."""

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

from django.core.management import BaseCommand
from django.core.management.base import CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from pixsim.core.cli.pipes import QuietOnClosedPipe, output_is_closed
from pixsim.core.db.sessions import past_the_pooler
from pixsim.schema.connecting import explain
from pixsim.schema.console import Console
from pixsim.schema.errors import SchemaError, UsageError
from pixsim.schema.locking import schema_lock
from pixsim.schema.spelling import with_right_word
from pixsim.schema.verbs import Context, Verb, all_verbs

INTERRUPTED = 130


class Command(QuietOnClosedPipe, BaseCommand):
    help = "The schema of the database: where it stands, going up and down, drift, adoption."
    requires_system_checks = []

    def create_parser(self, *args: Any, **options: Any) -> CommandParser:
        parser = super().create_parser(*args, **options)
        vars(parser)["error"] = partial(_refuse, parser)
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb_name", metavar="verb", required=True)
        for verb in all_verbs():
            each = verbs.add_parser(
                verb.name, aliases=list(verb.aliases), help=verb.help, description=verb.help
            )
            each.add_argument(
                "--database", default=DEFAULT_DB_ALIAS, metavar="ALIAS", help="which of DATABASES"
            )
            each.add_argument("--json", action="store_true", help="print one object")
            each.add_argument("--yes", action="store_true", help="answer every question with yes")
            each.set_defaults(verb=verb)
            verb.add_arguments(each)

    def handle(self, *, verb: Verb, database: str, **options: Any) -> None:
        console = Console(
            out=self.stdout,
            err=self.stderr,
            source=sys.stdin,
            as_json=options["json"],
            yes=options["yes"],
        )
        context = Context(database=database, options=Namespace(**options), console=console)
        with past_the_pooler():
            code = self._run(verb, context)
        if code:
            sys.exit(code)

    def _run(self, verb: Verb, context: Context) -> int:
        try:
            if context.database not in connections:
                known = ", ".join(connections)
                raise UsageError(f"There is no database {context.database!r}; there is: {known}.")
            say = context.console.say
            wait = say if getattr(context.options, "wait", False) else None
            locks = verb.writes and not getattr(context.options, "sql", False)
            with schema_lock(context.connection, wait=wait, say=say) if locks else nullcontext():
                return verb.run(context)
        except SchemaError as error:
            message, code = str(error), error.exit_code
        except DatabaseError as error:
            message, code = explain(error, context.connection), SchemaError.exit_code
        except KeyboardInterrupt:
            message, code = "Interrupted. What was committed before stays.", INTERRUPTED
        except OSError as error:  # such as a full disk
            if isinstance(error, BrokenPipeError) and output_is_closed():
                raise
            message, code = f"{error}. What was committed before stays.", SchemaError.exit_code
        with suppress(OSError):
            context.console.err.write(f"{message}\n")
            context.console.result({"error": message, "exit_code": code})
        return code


def _refuse(parser: CommandParser, message: str) -> None:
    """Refuse a command that was not understood, with the word that is right."""
    verbs = _verb_parsers(parser)
    options = {
        option
        for each in verbs.values()
        for action in each._actions
        for option in action.option_strings
    }
    type(parser).error(parser, with_right_word(message, verbs=verbs, options=options))


def _verb_parsers(parser: CommandParser) -> dict[str, ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            return dict(action.choices)
    return {}
