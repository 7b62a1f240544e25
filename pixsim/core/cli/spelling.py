"""Commands may be typed with hyphens: `manage.py crawl_job` runs the module `crawl_job`."""

from functools import cache

from django.core import management
from django.core.management import BaseCommand, get_commands, load_command_class


class Commands(dict[str, str]):
    """App names by command name, as Django keeps them.

    Looking up a name with hyphens returns the command object of the name with underscores. The keys
    are the module names alone, so `manage.py help` lists each command once.
    """

    def __missing__(self, name: str) -> BaseCommand:
        module = name.replace("-", "_")
        if module not in self:
            raise KeyError(name)
        return load_command_class(self[module], module)


def accept_hyphens() -> None:
    """Make `manage.py`, `python -m django` and `call_command` accept hyphens in command names."""
    management.get_commands = cache(lambda: Commands(get_commands()))
