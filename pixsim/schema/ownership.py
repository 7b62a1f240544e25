"""Whether a database is the project's own, or another system's that must be taken over first."""

from argparse import ArgumentParser

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from pixsim.schema import plugins
from pixsim.schema.errors import SchemaError
from pixsim.schema.plugins import ForeignHistory


class NotOurs(SchemaError):
    """The tables are another system's. A plug-in takes them over; migrations do not."""


def own_apps() -> set[str]:
    """Return the labels of the project's apps, without those that come with Django."""
    return {app.label for app in apps.get_app_configs() if not app.name.startswith("django.")}


def foreign_history(
    connection: BaseDatabaseWrapper, loader: MigrationLoader
) -> ForeignHistory | None:
    """Return what a plug-in recognises of another system.

    None once a migration of the project was applied, and for a database that nobody has made yet.
    """
    if {app for app, _ in loader.applied_migrations} & own_apps():
        return None
    found = (plugin.foreign_history(connection) for plugin in plugins.registered())
    return next((each for each in found if each), None)


def add_foreign_argument(parser: ArgumentParser) -> None:
    """Add the option of verbs that may work beside another program's tables."""
    parser.add_argument(
        "--ignore-alembic",
        action="store_true",
        help="go on beside the tables of another program that uses Alembic",
    )


def refuse_foreign(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, *, ignore: bool = False
) -> None:
    """Raise NotOurs if another system made the database and it was not taken over yet.

    With `ignore` only if it can be taken over.
    """
    found = foreign_history(connection, loader)
    if found and found.command:
        raise NotOurs(
            f"{found.statement}, and its tables are not ours yet. Nothing was changed. See what "
            f"would happen with `{found.command}`, then take it over with `{found.command} --apply`."
        )
    if found and not ignore:
        raise NotOurs(f"{found.statement}. Nothing was changed. {plugins.WAYS_BESIDE}")
