"""Recording migrations without running them, after a comparison with the schema."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.transaction import atomic

from pixsim.schema import accepting, drift, files
from pixsim.schema.catalog import Schema, read_schema
from pixsim.schema.drift import Difference
from pixsim.schema.reference import reference
from pixsim.schema.running import Executor
from pixsim.schema.target_parsing import Key
from pixsim.schema.targets import Plan


@dataclass(frozen=True)
class Look:
    """How the database differs from what would be recorded."""

    differences: tuple[Difference, ...]
    """In tables of the apps that the plan changes, and in what belongs to no app."""
    elsewhere: int
    """How many there are in tables of other apps, which the plan says nothing about."""


def look(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, applied: Sequence[Key], plan: Plan
) -> Look:
    """Compare the database with what it should be if the plan were recorded.

    Raise NoReference if the reference cannot be built.
    """
    known = [key for key in applied if key in loader.graph.nodes]
    forgotten = {step.key for step in plan.steps if step.backwards}
    recorded = [step.key for step in plan.steps if not step.backwards]
    after = [*(key for key in known if key not in forgotten), *recorded]
    owners_before, owners_after = _owners(loader, known), _owners(loader, after)
    with reference(connection, at=after, loader=loader) as expected:
        found = read_schema(connection)
        differences = drift.between(expected, found)
    differences = accepting.judge(connection, differences, tables=found.tables).open
    differences += _left_over(found, owners_before.keys() - owners_after.keys())
    owners = owners_before | owners_after
    changed = {step.app for step in plan.steps}
    near = [each for each in differences if owners.get(each.table, "") in {"", *changed}]
    return Look(tuple(near), elsewhere=len(differences) - len(near))


def record(connection: BaseDatabaseWrapper, loader: MigrationLoader, plan: Plan) -> None:
    """Write the rows of the plan and the hashes of the files in one transaction."""
    with atomic(connection.alias):
        executor = Executor(connection, loader=loader)
        executor.recorder.ensure_schema()
        files.make_table(connection)
        for step in plan.steps:
            migration = executor.loader.graph.nodes[step.key]
            change = executor.unapply_migration if step.backwards else executor.apply_migration
            change(ProjectState(), migration, fake=True)


def _owners(loader: MigrationLoader, keys: Sequence[Key]) -> dict[str, str]:
    """Return the app of each table that Django manages once `keys` are applied."""
    state = loader.project_state(list(keys))
    return {
        model._meta.db_table: model._meta.app_label
        for model in state.apps.get_models(include_auto_created=True)
        if model._meta.managed
    }


def _left_over(found: Schema, tables: Iterable[str]) -> list[Difference]:
    """Return the tables that should not exist any more."""
    return [
        Difference("table", name, name, drift.NOTHING, "the table")
        for name in sorted(tables)
        if name in found.tables
    ]
