"""`db check`: what must be right before a deployment; one line each, for continuous integration."""

from argparse import ArgumentParser

from pixsim.schema.checking import problems
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.verbs import Context, Verb


class Check(Verb):
    name = "check"
    help = "For CI: forgotten migrations, heads, edited files, unsafe operations, drift, full keys."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--files", action="store_true", help="look at no database")

    def run(self, context: Context) -> int:
        options, console = context.options, context.console
        found = problems(None if options.files else context.connection)
        for problem in found:
            console.say(str(problem))
        if not found:
            console.say("Nothing to find fault with.")
        console.result(
            {
                "fine": not found,
                "problems": [{"kind": each.kind, "text": each.text} for each in found],
            }
        )
        return WRONG if found else FINE
