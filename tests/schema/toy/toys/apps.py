"""The toy app registers a plug-in of its own, as the docstring of `pixsim.schema` describes."""

from collections.abc import Iterable, Mapping, Sequence

from django.apps import AppConfig
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.core.invariants import Invariant
from pixsim.schema import plugins
from pixsim.schema.plugins import ForeignHistory, Plugin
from pixsim.schema.target_parsing import Key


class ToyPlugin(Plugin):
    name = "toys"
    verb_modules = ("toys.verbs",)
    revisions = {"first": [("toys", "0001_initial")]}
    tables = ("toy_scraps",)

    def foreign_history(self, connection: BaseDatabaseWrapper) -> ForeignHistory | None:
        if "toy_box" not in connection.introspection.table_names():
            return None
        return ForeignHistory("The toy maker made this database", "manage.py db unpack")

    def invariants(self) -> Mapping[Key, Sequence[Invariant]]:
        never = Invariant(
            "price", "A toy costs something.", "SELECT id FROM toys_toy WHERE price <= 0"
        )
        return {("toys", "0002_price"): [never]}

    def status(self, connection: BaseDatabaseWrapper) -> Iterable[str]:
        return ["The toys are in order."]


class ToysConfig(AppConfig):
    name = "toys"

    def ready(self) -> None:
        plugins.register(ToyPlugin())
