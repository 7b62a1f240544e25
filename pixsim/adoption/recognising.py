"""The revision of a database, by `alembic_version` and by its tables."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from pixsim.adoption.systems import BASE, SYSTEMS, Point, System, points
from pixsim.schema.catalog import Schema, quoted
from pixsim.schema.errors import SchemaError, UsageError
from pixsim.schema.target_parsing import listed

VERSIONS = "alembic_version"
RECORD = "adoption_record"
ORIGINALS = "pixsim_adopted"
"""The schema that keeps the older tables."""
ENOUGH = 0.5
"""The share of a system's tables that must be there for a database to be called its."""
SHOWN = 5


class Unrecognised(SchemaError):
    """The database cannot be adopted as the revision it names. The message says what it looks like."""


@dataclass(frozen=True)
class Likeness:
    """How the tables of a database differ from those at one revision, by table and column."""

    point: Point
    apart: tuple[str, ...]

    @property
    def text(self) -> str:
        if not self.apart:
            return f"{self.point.text} exactly"
        shown = "; ".join(self.apart[:SHOWN]) + ("; …" if len(self.apart) > SHOWN else "")
        count = len(self.apart)
        return f"{self.point.text} but for {count} difference{'s' * (count > 1)} ({shown})"


def made_by_older_system(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the tables are those of a system that we know, and not ours yet. Read the
    catalogue only."""
    names = _visible(connection)
    if "django_migrations" in names:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT DISTINCT app FROM django_migrations")
            if _apps() & {app for (app,) in cursor.fetchall()}:
                return False
    # A database that Django was in is ours, with its history lost, unless Alembic was there as well.
    was_django = "django_content_type" in names and VERSIONS not in names
    return not was_django and any(_has(system, names) for system in SYSTEMS)


def alembic_revisions(connection: BaseDatabaseWrapper) -> list[str]:
    """Return what any Alembic says of the database; nothing without its table."""
    if VERSIONS not in _visible(connection):
        return []
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT version_num FROM {VERSIONS} ORDER BY 1")
        return [revision for (revision,) in cursor.fetchall()]


def is_known(revision: str) -> bool:
    """Return whether a system that we know has this revision."""
    return any(point.revision == revision for point in points())


def _visible(connection: BaseDatabaseWrapper) -> set[str]:
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE pg_table_is_visible(oid)")
        return {name for (name,) in cursor.fetchall()}


def recognise(
    connection: BaseDatabaseWrapper,
    found: Schema,
    loader: MigrationLoader,
    *,
    assume: str | None = None,
) -> Point:
    """Return the revision of the database, or the one of `assume`, if its tables agree.

    Raise Unrecognised if they do not, UsageError for an unknown `assume`.
    """
    _refuse_ours(loader, found)
    stored = stored_revisions(connection, found)
    nearest = likenesses(found, loader)
    if assume is not None:
        return _agreed(_named(assume), nearest, f"--assume {assume} is not right.")
    if not nearest:
        raise Unrecognised(_nothing_known(stored, found))
    if len(stored) == 1 and (named := [each for each in points() if each.revision in stored]):
        return _agreed(
            named[0], nearest, f"{VERSIONS} names {stored[0]}, but its tables are not so."
        )
    if not stored and VERSIONS not in found.tables and nearest[0].point.revision == BASE:
        return nearest[0].point
    raise Unrecognised(f"{_about(stored, found)} Nothing was written. {_looks(nearest)}")


def stored_revisions(connection: BaseDatabaseWrapper, found: Schema) -> list[str]:
    """Return the rows of `alembic_version`; none without the table."""
    if VERSIONS not in found.tables or "version_num" not in found.tables[VERSIONS].columns:
        return []
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT version_num FROM {quoted(found.name)}.{VERSIONS} ORDER BY 1")
        return [revision for (revision,) in cursor.fetchall()]


def likenesses(found: Schema, loader: MigrationLoader) -> list[Likeness]:
    """Return every revision of the system that made the tables, the nearest first; none if neither
    did.

    Raise Unrecognised if both systems' tables exist.
    """
    systems = [system for system in SYSTEMS if _has(system, set(found.tables))]
    if len(systems) > 1:
        raise Unrecognised(
            "This database has the tables of two systems, "
            f"{' and '.join(system.name for system in systems)}. Nothing was written. Move one of "
            "them into a database of its own (pg_dump -t …), then adopt each."
        )
    near = [
        Likeness(point, tuple(_differing(found, loader, point)))
        for system in systems
        for point in points(system)
    ]
    return sorted(near, key=lambda likeness: len(likeness.apart))


def _differing(found: Schema, loader: MigrationLoader, point: Point) -> list[str]:
    """Return what a table of the system lacks at this revision, and what it has that came later."""
    expected = _columns(loader, point)
    last = _columns(loader, points(point.system)[-1])
    apart = []
    for table, columns in last.items():
        there = found.tables.get(table)
        wanted = expected.get(table)
        if there is None:
            apart += [f"{table} is missing"] if wanted is not None else []
        elif wanted is None:
            apart.append(f"{table} is there, which came later")
        else:
            apart += [f"{table}.{name} is missing" for name in wanted - set(there.columns)]
            later = (columns - wanted) & set(there.columns)
            apart += [f"{table}.{name} is there, which came later" for name in later]
    return sorted(apart)


def _columns(loader: MigrationLoader, point: Point) -> Mapping[str, set[str]]:
    """Return the columns of the system's tables at a revision."""
    state = loader.project_state(list(point.keys))
    tables = {}
    for model in state.models.values():
        table = model.options.get("db_table", "")
        if table in point.system.tables:
            columns = {
                field.db_column or (f"{name}_id" if field.remote_field else name)
                for name, field in model.fields.items()
            }
            tables[table] = {
                name for name in columns if (table, name) not in point.system.ours_alone
            }
    return tables


def _agreed(named: Point, nearest: Sequence[Likeness], otherwise: str) -> Point:
    """Return the point. Raise Unrecognised if the tables are nearer to another one."""
    own = next((each for each in nearest if each.point == named), None)
    if own is None or len(own.apart) > len(nearest[0].apart):
        raise Unrecognised(f"{otherwise} Nothing was written. {_looks(nearest)}")
    return named


def _named(revision: str) -> Point:
    known = {point.revision: point for point in points()}
    if revision not in known:
        raise UsageError(f"--assume {revision}: nobody knows it. Say one of {listed(list(known))}.")
    return known[revision]


def _looks(nearest: Sequence[Likeness]) -> str:
    if not nearest:
        return "The tables are those of no system that we know."
    best = nearest[0]
    twins = [
        likeness.point.revision
        for likeness in nearest[1:]
        if likeness.point.keys == best.point.keys
    ]
    same = "".join(f", or, with the same tables, `--assume {twin}`" for twin in twins)
    return (
        f"The tables look like {best.text}. If that is right, say "
        f"`manage.py db adopt --assume {best.point.revision}`{same}."
    )


def _about(stored: Sequence[str], found: Schema) -> str:
    if len(stored) > 1:
        return f"{VERSIONS} names {len(stored)} revisions: {listed(list(stored))}."
    if stored:
        return f"{VERSIONS} names {stored[0]}, a revision that nobody has."
    return f"{VERSIONS} {'is empty' if VERSIONS in found.tables else 'is missing'}."


def _nothing_known(stored: Sequence[str], found: Schema) -> str:
    if not found.tables:
        return "This database is empty: there is nothing to adopt. Say `manage.py migrate`."
    missing = [
        f"of {system.name}'s {len(system.tables)} tables "
        f"{len(set(system.tables) & set(found.tables))} are here"
        for system in SYSTEMS
    ]
    return (
        f"{_about(stored, found)} Nothing was written. The tables are those of no system that we "
        f"know: {', '.join(missing)}."
    )


def _refuse_ours(loader: MigrationLoader, found: Schema) -> None:
    if RECORD in found.tables:
        raise Unrecognised(
            "This database was adopted already; nothing was written. Go on with `manage.py db "
            "upgrade`, or take it back with `manage.py db adopt --undo`."
        )
    applied = {app for app, _ in loader.applied_migrations}
    if _apps() & applied:
        raise Unrecognised(
            "This database is ours already: its migrations are recorded. Nothing was written. See "
            "`manage.py db status`."
        )
    if applied:
        raise Unrecognised(
            f"Another Django project has its tables here ({listed(sorted(applied))}). Nothing was "
            "written. Move the older system's tables into a database of their own (pg_dump -t …)."
        )


def _has(system: System, names: set[str]) -> bool:
    return len(names & set(system.tables)) >= ENOUGH * len(system.tables)


def _apps() -> set[str]:
    return {app for point in points() for app, _ in point.keys}
