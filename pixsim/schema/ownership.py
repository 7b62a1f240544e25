"""Whose a database is: ours, or another system's, which is taken over before anything else."""

from __future__ import annotations

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from pixsim.adoption.recognising import made_by_alembic
from pixsim.schema.errors import SchemaError
from pixsim.schema.target_parsing import listed


class MadeByAlembic(SchemaError):
    """The tables are another system's: they are taken over by `db adopt`, not made."""


def own_apps() -> set[str]:
    """The apps of the project, without those that come with Django."""
    return {app.label for app in apps.get_app_configs() if not app.name.startswith("django.")}


def alembic_revisions(connection: BaseDatabaseWrapper) -> list[str]:
    """The revisions in the table `alembic_version`; none if there is no such table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return []
        cursor.execute("SELECT version_num FROM alembic_version ORDER BY 1")
        return [revision for (revision,) in cursor.fetchall()]


def made_by_another(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> str:
    """That Alembic made this database, and where it stands, as the beginning of a sentence.

    Empty once a migration of the project was applied, and for a database that nobody has made yet.
    """
    begun = {app for app, _ in loader.applied_migrations} & own_apps()
    if begun or not made_by_alembic(connection):
        return ""
    revisions = alembic_revisions(connection)
    at = f"revision {listed(revisions)}" if revisions else "no revision"
    return f"Alembic made this database (it is at {at})"


def refuse_alembic(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> None:
    """Raises MadeByAlembic if another system made the database and it was not adopted yet."""
    if made := made_by_another(connection, loader):
        raise MadeByAlembic(
            f"{made}, and its tables are not ours yet. Nothing was changed. See what would happen "
            f"with `manage.py db adopt`, then take it over with `manage.py db adopt --apply`."
        )
