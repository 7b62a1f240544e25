"""Adoption as a plug-in of the schema tool."""

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.adoption.changes import CHANGES, HELD_JOBS
from pixsim.adoption.quarantine import QUARANTINE
from pixsim.adoption.recognising import (
    RECORD,
    alembic_revisions,
    is_known,
    made_by_older_system,
)
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
        revisions = alembic_revisions(connection)
        at = f"revision {listed(revisions)}" if revisions else "no revision"
        if made_by_older_system(connection) or any(map(is_known, revisions)):
            statement = f"Alembic made this database (it is at {at})"
            return ForeignHistory(statement, "manage.py db adopt", tuple(revisions))
        if not revisions:
            return None
        statement = f"Another program's Alembic keeps its history in this database (at {at})"
        return ForeignHistory(statement, revisions=tuple(revisions))
