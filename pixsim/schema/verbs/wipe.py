"""`db wipe`: empty the database."""

from argparse import ArgumentParser
from collections import Counter

from django.conf import settings

from pixsim.schema.connecting import look, place
from pixsim.schema.console import readable_size
from pixsim.schema.contents import database_objects, wipe
from pixsim.schema.errors import FINE, SchemaError, UsageError
from pixsim.schema.verbs import Context, Verb


class Wipe(Verb):
    name = "wipe"
    help = "Drop everything in the database. Only with DEBUG on, or with its name in --yes-really."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--yes-really", metavar="NAME", help="the name of the database, instead of typing it"
        )

    def run(self, context: Context) -> int:
        console, connection = context.console, context.connection
        name = connection.settings_dict["NAME"]
        given = context.options.yes_really
        if given is not None and given != name:
            raise UsageError(f"This database is called {name!r}, not {given!r}. Nothing was wiped.")
        if given is None and not settings.DEBUG:
            raise SchemaError(
                f"DEBUG is off, so this may be where people work. Nothing was wiped. If "
                f"{place(connection)} must go, say --yes-really {name}."
            )
        found = database_objects(connection)
        if not found:
            console.say(f"{name} is empty already.")
        else:
            kinds = Counter(thing.kind.lower() for thing in found)
            console.say(
                f"{place(connection)}: {readable_size(look(connection).size)}, "
                + ", ".join(
                    f"{count} {_plural(kind) if count > 1 else kind}"
                    for kind, count in kinds.most_common()
                )
            )
            if given is None:
                console.ask_for(
                    name,
                    f"All of it is lost. Type the database's name, {name}:",
                    otherwise=f"--yes is not enough, say --yes-really {name}",
                )
            wipe(connection)
            console.say(
                f"{name} is empty. Fill it with `manage.py db upgrade` or `manage.py db restore`."
            )
        console.result({"database": name, "dropped": [str(thing) for thing in found]})
        return FINE


def _plural(kind: str) -> str:
    if kind.endswith("y"):
        return f"{kind.removesuffix('y')}ies"
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
