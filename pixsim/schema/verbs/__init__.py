"""The verbs of `manage.py db`, one module each. A new module with a Verb in it is a new verb."""

import pkgutil
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema import plugins
from pixsim.schema.console import Console


@dataclass(frozen=True)
class Context:
    """The arguments of a verb."""

    database: str
    """The alias that --database named."""
    options: Namespace
    console: Console

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.database]


class Verb:
    """One verb. Subclasses are found in the modules of this package and of plug-ins."""

    name: ClassVar[str]
    help: ClassVar[str]
    """One sentence for the list of verbs."""
    aliases: ClassVar[Sequence[str]] = ()
    writes: ClassVar[bool] = False
    """Whether it runs under the advisory lock that all that writes to the database takes; not with
    --sql, which needs no database."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the verb's own arguments; --database, --json and --yes are there already."""

    def run(self, context: Context) -> int:
        """Run the verb, and return the exit code: FINE or WRONG. Raise SchemaError with one
        message."""
        raise NotImplementedError


def all_verbs() -> list[Verb]:
    """Return one of each, also those of plug-ins, by name."""
    plugins.import_verbs()
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return sorted((verb() for verb in Verb.__subclasses__()), key=lambda verb: verb.name)
