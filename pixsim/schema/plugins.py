"""What a project adds to the schema tool. The tool itself knows no app of the project.

Subclass Plugin, override what is needed, and register an instance in `AppConfig.ready`:

    class ShopConfig(AppConfig):
        name = "shop"

        def ready(self) -> None:
            plugins.register(ShopPlugin())
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.core.invariants import Invariant
from pixsim.schema.target_parsing import Key, Revisions

WAYS_BESIDE = (
    "Use another database, or a schema of its own (DATABASE_URL with "
    "?options=-csearch_path%3DNAME); or go on in this one, beside what is there, with "
    "--ignore-alembic."
)


@dataclass(frozen=True)
class ForeignHistory:
    """What another system made of the database, before any migration of the project ran; or what
    the project's migrations made in a schema that sessions do not look in."""

    statement: str
    """What was recognised, as the beginning of a sentence."""
    command: str = ""
    """The command that takes the database over, as `manage.py db adopt`; empty if none does."""
    revisions: tuple[str, ...] = ()
    """Where the other system says that the database stands."""
    ways: str = WAYS_BESIDE
    """What to do, where no command takes the database over."""
    is_ours: bool = False
    """Whether it is the project's own, in another schema."""

    def __str__(self) -> str:
        if self.command:
            return f"{self.statement}: take it over with `{self.command}`."
        return f"{self.statement}. {self.ways}"


class Plugin:
    """One addition to the tool. Without an override it adds nothing."""

    name: ClassVar[str]
    """Registering a second plug-in of the same name replaces the first."""
    verb_modules: ClassVar[Sequence[str]] = ()
    """Modules with subclasses of `pixsim.schema.verbs.Verb`; imported when `db` runs."""
    revisions: ClassVar[Revisions] = {}
    """More names for points of the history, each with the last migration of each app there."""
    tables: ClassVar[Sequence[str]] = ()
    """Regular expressions of tables that no migration makes and `db verify` does not mention."""

    def foreign_history(self, connection: BaseDatabaseWrapper) -> ForeignHistory | None:
        """Return what another system made of a database that has no migration of the project."""
        return None

    def invariants(self) -> Mapping[Key, Sequence[Invariant]]:
        """Return what `db verify` proves of the rows, by the migration that makes it true."""
        return {}

    def status(self, connection: BaseDatabaseWrapper) -> Iterable[str]:
        """Return lines that `db status` adds to its own."""
        return ()


_registered: dict[str, Plugin] = {}


def register(plugin: Plugin) -> None:
    """Use `plugin` from now on."""
    _registered[plugin.name] = plugin


def registered() -> list[Plugin]:
    """Return all plug-ins, in the order in which they were registered."""
    return list(_registered.values())


def import_verbs() -> None:
    """Import the modules in which plug-ins keep verbs of their own."""
    for plugin in registered():
        for module in plugin.verb_modules:
            import_module(module)


def revisions() -> Revisions:
    """Return the names for points of the history that all plug-ins know."""
    return {name: keys for plugin in registered() for name, keys in plugin.revisions.items()}


def invariants(made: Iterable[Key]) -> Iterator[Invariant]:
    """Return what plug-ins say of the rows of a database with the migrations `made`."""
    known = set(made)
    for plugin in registered():
        for key, each in plugin.invariants().items():
            if key in known:
                yield from each


def table_patterns() -> list[str]:
    """Return the regular expressions of the tables that plug-ins make."""
    return [pattern for plugin in registered() for pattern in plugin.tables]
