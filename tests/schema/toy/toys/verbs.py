"""`db play`: a verb of the toy project."""

from pixsim.schema.errors import FINE
from pixsim.schema.verbs import Context, Verb


class Play(Verb):
    name = "play"
    help = "Play."

    def run(self, context: Context) -> int:
        context.console.say("Played.")
        return FINE
