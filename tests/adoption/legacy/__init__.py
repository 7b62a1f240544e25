"""The databases that older systems made, in every state that `db adopt` takes over.

    STATES["pixsim7-2330addema-models"].build(run); .fill(run, jobs=100)

`run` executes one statement in an empty database (the fixture `sql` does). `messy` has what real
sites do to such a database.
"""

from dataclasses import dataclass

from tests.adoption.legacy import pixcrawler, pixsim7
from tests.adoption.legacy.building import Run, create
from tests.adoption.legacy.pixcrawler_rows import fill_pixcrawler
from tests.adoption.legacy.pixsim7_rows import fill_pixsim7
from tests.tables import Table


@dataclass(frozen=True)
class State:
    """One revision of one system, in one of its shapes."""

    system: str
    revision: str | None
    shape: str = ""

    @property
    def name(self) -> str:
        parts = (self.system, self.revision or "before-001", self.shape)
        return "-".join(part for part in parts if part)

    @property
    def tables(self) -> dict[str, Table]:
        if self.system == "pixcrawler":
            return pixcrawler.tables_at(self.revision)
        return pixsim7.tables_at(self.revision, self.shape)

    def build(self, run: Run) -> None:
        """The tables, empty, and the row of `alembic_version` if there is one."""
        is_crawler = self.system == "pixcrawler"
        create(
            run,
            self.tables,
            enums={} if is_crawler else pixsim7.ENUMS,
            unique_constraints=(pixcrawler if is_crawler else pixsim7).UNIQUE_CONSTRAINTS,
            revisions=[self.revision] if self.revision else [],
        )

    def fill(self, run: Run, *, jobs: int) -> None:
        """Rows of every kind: `jobs` jobs with three submissions, or ten chunks, each."""
        fill_rows = fill_pixcrawler if self.system == "pixcrawler" else fill_pixsim7
        fill_rows(run, self.tables, jobs=jobs)


STATES = {
    state.name: state
    for state in [
        *[State("pixcrawler", revision) for revision in pixcrawler.REVISIONS],
        State("pixsim7", pixsim7.REVISIONS[0]),
        *[
            State("pixsim7", revision, shape)
            for revision in pixsim7.REVISIONS[1:]
            for shape in pixsim7.SHAPES
        ],
    ]
}
