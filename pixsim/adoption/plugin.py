"""Adoption as a plug-in of the schema tool."""

from contextlib import closing

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.adoption.changes import CHANGES, HELD_JOBS
from pixsim.adoption.quarantine import QUARANTINE
from pixsim.adoption.recognising import RECORD, VERSIONS, made_by_alembic
from pixsim.adoption.systems import REVISIONS
from pixsim.schema.plugins import ForeignHistory, Plugin
from pixsim.schema.target_parsing import listed


class AdoptionPlugin(Plugin):
    """Databases that Alembic made for the older systems."""

    name = "adoption"
    verb_modules = ("pixsim.adoption.verb",)
    revisions = REVISIONS
    tables = (RECORD, CHANGES, HELD_JOBS, f"{QUARANTINE}.*")

    def foreign_history(self, connection: BaseDatabaseWrapper) -> ForeignHistory | None:
        if not made_by_alembic(connection):
            return None
        revisions = _revisions(connection)
        at = f"revision {listed(revisions)}" if revisions else "no revision"
        return ForeignHistory(
            f"Alembic made this database (it is at {at})", "manage.py db adopt", tuple(revisions)
        )


def _revisions(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the revisions that `alembic_version` names; none without the table."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [VERSIONS])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(f"SELECT version_num FROM {VERSIONS} ORDER BY 1")
        return [revision for (revision,) in cursor.fetchall()]
