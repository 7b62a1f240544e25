"""Whether a database is the project's own, or another system's that must be taken over first."""

from argparse import ArgumentParser

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from pixsim.schema import plugins
from pixsim.schema.errors import SchemaError
from pixsim.schema.plugins import ForeignHistory
from pixsim.schema.reference import PREFIX

HISTORIES = """
SELECT quote_ident(nspname), format('%%I.%%I', nspname, relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname NOT LIKE %s AND relname = %s AND relkind = 'r' AND NOT pg_table_is_visible(c.oid)
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
ORDER BY nspname
"""
SEARCH_PATH = """
SELECT current_setting('search_path'), quote_ident(current_database())
"""


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
    The project's own tables are foreign, too, in a schema that sessions do not look in.
    """
    if {app for app, _ in loader.applied_migrations} & own_apps():
        return None
    elsewhere = tables_elsewhere(connection)
    if elsewhere and not _is_schema_chosen(connection):
        return elsewhere
    found = (plugin.foreign_history(connection) for plugin in plugins.registered())
    return next((each for each in found if each), None)


def tables_elsewhere(connection: BaseDatabaseWrapper) -> ForeignHistory | None:
    """Return what the migrations of the project made in a schema that sessions do not look in, as
    after the restore of a dump."""
    with connection.cursor() as cursor:
        cursor.execute(HISTORIES, [f"{PREFIX}%", MigrationRecorder.Migration._meta.db_table])
        schemas = []
        for schema, history in cursor.fetchall():
            cursor.execute(f"SELECT DISTINCT app FROM {history}")
            if {app for (app,) in cursor.fetchall()} & own_apps():
                schemas.append(schema)
        if not schemas:
            return None
        cursor.execute(SEARCH_PATH)
        path, database = cursor.fetchone()
    return ForeignHistory(
        f"The tables are in the schema {schemas[0]}, and sessions look in {path}",
        ways=(
            f"Let them look there: ALTER DATABASE {database} SET search_path = {schemas[0]}, public; For new "
            f"tables beside those, choose a schema in DATABASE_URL (?options=-csearch_path%3DNAME)."
        ),
        is_ours=True,
    )


def _is_schema_chosen(connection: BaseDatabaseWrapper) -> bool:
    """Return whether DATABASE_URL itself names the schemas: new tables are wanted there, then."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT source = 'client' FROM pg_settings WHERE name = 'search_path'")
        return bool(cursor.fetchone()[0])


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
        raise NotOurs(f"{found.statement}. Nothing was changed. {found.ways}")
