"""The migrations of a revision: what the autodetector found, in its safe form, split into files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import (
    AddField,
    CreateModel,
    DeleteModel,
    Migration,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
)
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from pixsim.schema import migration_docstrings as docstrings
from pixsim.schema.errors import SchemaError
from pixsim.schema.safe_operations import safe_parts
from pixsim.schema.safe_parts import Before, ModelKey, Part
from pixsim.schema.target_parsing import Key
from pixsim.schema.unsafe import review

LONGEST_NAME = 60
"""Of a file, without its number: what a message says beyond that stands in the docstring."""
LATER = "Apply it a release later, when no process of the release before runs any more"


@dataclass(frozen=True)
class Hint:
    """Something that a reviewer of the migration must look at."""

    kind: Literal["blocks", "breaks", "rename"]
    """It blocks its table, breaks code that still runs, or drops what may only have been renamed."""
    text: str


@dataclass(frozen=True)
class Planned:
    """A migration to be written."""

    migration: Migration
    docstring: str
    hints: tuple[Hint, ...]
    is_later: bool
    """Whether it waits for the release after."""

    @property
    def key(self) -> Key:
        return self.migration.app_label, self.migration.name


@dataclass
class _File:
    """A migration that is being put together."""

    app: str
    name: str
    dependencies: list[Any]
    parts: list[Part]
    state: ProjectState
    """The models before it."""
    is_initial: bool = False

    def migration(self) -> Migration:
        attributes = {
            "dependencies": list(dict.fromkeys(self.dependencies)),
            "operations": [each for part in self.parts for each in part.operations],
            "initial": True if self.is_initial else None,
            "atomic": all(part.atomic is not False for part in self.parts),
        }
        made: Migration = type("Migration", (Migration,), attributes)(self.name, self.app)
        return made


@dataclass
class _Plan:
    """The files so far."""

    connection: BaseDatabaseWrapper
    state: ProjectState
    files: list[_File] = field(default_factory=list)
    later: dict[str, list[Part]] = field(default_factory=dict)
    last: dict[Key, str] = field(default_factory=dict)
    """Of each migration that was found the name of its last file."""
    hints: dict[Key, list[Hint]] = field(default_factory=dict)

    def add(self, found: Migration, parts: Sequence[Part]) -> None:
        """Split the parts of a migration into files."""
        app = found.app_label
        number, base = self._number(found), found.name.partition("_")[2] or found.name
        dependencies = [self._renamed(each) for each in found.dependencies]
        groups = list(_groups(parts)) or [[]]
        for place, group in enumerate(groups):
            name = base if not place else _named(base, group)
            file = _File(
                app, f"{number + place:04d}_{name}", dependencies, group, self.state.clone()
            )
            file.is_initial = bool(found.initial) and not place
            dependencies = [(app, file.name)]
            self._append(file)
        self.last[app, found.name] = self.files[-1].name

    def add_later(self) -> None:
        """Add the files of the release after, behind all others."""
        now = {each.app: each.name for each in self.files}
        for app, parts in self.later.items():
            dependencies = [(app, now[app])]
            dependencies += [(other, name) for other, name in now.items() if other != app]
            for group in _groups(parts):
                first = next(each.name for each in self.files if each.app == app)
                base = first.partition("_")[2]
                number = max(_number_of(each.name) for each in self.files if each.app == app) + 1
                file = _File(
                    app,
                    f"{number:04d}_{base[: LONGEST_NAME - 9]}_contract",
                    dependencies,
                    group,
                    self.state.clone(),
                )
                dependencies = [(app, file.name)]
                self._append(file)

    def _append(self, file: _File) -> None:
        self.files.append(file)
        for operation in file.migration().operations:
            operation.state_forwards(file.app, self.state)

    def _number(self, found: Migration) -> int:
        made = [_number_of(each.name) for each in self.files if each.app == found.app_label]
        return max(made) + 1 if made else _number_of(found.name)

    def _renamed(self, dependency: Any) -> Any:
        if tuple(dependency) in self.last:
            return dependency[0], self.last[tuple(dependency)]
        return dependency


def plan(
    found: Sequence[Migration],
    state: ProjectState,
    connection: BaseDatabaseWrapper,
    *,
    message: str,
) -> list[Planned]:
    """Return the migrations to be written for what was found, whose models are in `state` so far.

    Sends nothing to `connection`. Raise SchemaError, with what to do instead, for a change that has
    no safe form.
    """
    made = _Plan(connection, state.clone())
    new_models: set[ModelKey] = set()
    dropped: list[tuple[ModelKey, Any]] = []
    hints = _rename_hints(found, state)
    for migration in _in_order(found):
        app = migration.app_label
        before = Before(app, made.state.clone(), connection, new_models, dropped)
        parts: list[Part] = []
        for operation in migration.operations:
            if isinstance(operation, CreateModel):
                new_models.add((app, operation.name_lower))
            dropped += _dropped_by(operation, before)
            parts += safe_parts(operation, before)
            before = before.after(operation)
        made.add(migration, [each for each in parts if not each.is_later])
        made.later.setdefault(app, []).extend(each for each in parts if each.is_later)
        made.hints[app, made.last[app, migration.name]] = hints[app, migration.name]
    _refuse_names_in_use(made)
    made.add_later()
    return [_planned(file, made, message) for file in made.files]


def _dropped_by(operation: Operation, before: Before) -> Iterator[tuple[ModelKey, Any]]:
    """Yield the index or constraint that an operation drops, with its model."""
    if isinstance(operation, RemoveIndex | RemoveConstraint):
        model = before.model_state(operation.model_name)
        find = model.get_index_by_name
        if isinstance(operation, RemoveConstraint):
            find = model.get_constraint_by_name
        yield (before.app, operation.model_name_lower), find(operation.name)


def _planned(file: _File, made: _Plan, message: str) -> Planned:
    migration = file.migration()
    is_later = any(part.is_later for part in file.parts)
    hints = [
        Hint(each.kind, str(each))
        for each in review(migration, file.state, made.connection)
        if not (is_later and each.kind == "breaks")  # that is why it waits
    ]
    hints += made.hints.get((file.app, file.name), [])
    return Planned(migration, _docstring(file, migration, made, message), tuple(hints), is_later)


def _docstring(file: _File, migration: Migration, made: _Plan, message: str) -> str:
    says = [part.says for part in file.parts]
    if not says:
        return docstrings.title_only(message or migration.name)
    if any(part.is_later for part in file.parts):
        says.append(LATER)
    breaks = [part.breaks for part in file.parts if part.breaks]
    breaks += [
        f"{each.table}: {each.why}"
        for each in review(migration, file.state, made.connection)
        if each.kind == "breaks" and not any(each.table in text for text in breaks)
    ]
    return docstrings.written(
        message or "; ".join(says),
        says if message else [],
        found=docstrings.locks_of(migration, file.state, made.connection),
        back=[part.back for part in reversed(file.parts)],
        breaks=breaks,
    )


def _groups(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Yield the parts that one migration can hold, in their order."""
    group: list[Part] = []
    for part in parts:
        kinds = {each.atomic for each in (*group, part)} - {None}
        if group and len(kinds) > 1:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _named(base: str, group: Sequence[Part]) -> str:
    topic = next((part.topic for part in group if part.topic), "next")
    return f"{base[: LONGEST_NAME - len(topic) - 1]}_{topic}"


def _number_of(name: str) -> int:
    return MigrationAutodetector.parse_number(name) or 0


def _in_order(found: Sequence[Migration]) -> list[Migration]:
    """Return the migrations so that each comes after those that it depends on."""
    waiting = {(each.app_label, each.name): each for each in found}
    order: list[Migration] = []
    while waiting:
        key = next(
            (
                key
                for key, each in waiting.items()
                if not any(tuple(needed) in waiting for needed in each.dependencies)
            ),
            next(iter(waiting)),
        )
        order.append(waiting.pop(key))
    return order


def _refuse_names_in_use(made: _Plan) -> None:
    """Raise SchemaError if the models use a column or table that is to be dropped later."""
    kept = {name for parts in made.later.values() for part in parts for name in part.keeps}
    used: set[str] = set()
    for model in made.state.apps.get_models(include_auto_created=True) if kept else ():
        table = model._meta.db_table
        used |= {table, *(f"{table}.{each.column}" for each in model._meta.local_concrete_fields)}
    if taken := sorted(kept & used):
        raise SchemaError(
            f"{', '.join(taken)} is removed and added again at once. Nothing was written. Remove it "
            f"with one `db revision`, and add it with another when the first is applied."
        )


def _rename_hints(found: Sequence[Migration], state: ProjectState) -> dict[Key, list[Hint]]:
    """Return for each migration what it drops that may only have been renamed."""
    hints: dict[Key, list[Hint]] = {}
    for migration in found:
        texts = [
            *_renamed_fields(migration, state),
            *(
                text
                for operation in migration.operations
                if isinstance(operation, DeleteModel)
                for text in _renamed_models(migration.app_label, operation, state, found)
            ),
        ]
        hints[migration.app_label, migration.name] = [Hint("rename", text) for text in texts]
    return hints


def _renamed_fields(migration: Migration, before: ProjectState) -> Iterator[str]:
    """Yield a hint for each column that is dropped while one of the same kind is added."""
    app = migration.app_label
    added = [each for each in migration.operations if isinstance(each, AddField)]
    for operation in migration.operations:
        if not isinstance(operation, RemoveField):
            continue
        model = before.models.get((app, operation.model_name_lower))
        old = model.fields.get(operation.name) if model else None
        for new in added:
            if new.model_name_lower == operation.model_name_lower and _alike(old, new.field):
                yield (
                    f"{operation.model_name}.{operation.name} is dropped with all that is in it, "
                    f"and {new.name} added, of the same kind. If it is a rename, delete what was "
                    f"written and say so: `db revision --yes`"
                )


def _renamed_models(
    app: str, deleted: DeleteModel, before: ProjectState, new: Sequence[Migration]
) -> Iterator[str]:
    """Yield a hint for each model, of any app, that is added with the fields of a dropped one."""
    old = before.models[app, deleted.name_lower].fields
    for migration in new:
        for operation in migration.operations:
            if not isinstance(operation, CreateModel):
                continue
            fields = dict(operation.fields)
            if fields.keys() == old.keys() and all(_alike(old[each], fields[each]) for each in old):
                instead = (
                    "delete what was written and say so: `db revision --yes`"
                    if migration.app_label == app
                    else "say SeparateDatabaseAndState, which leaves the table where it is, instead"
                )
                yield (
                    f"{app}.{deleted.name} is dropped with all its rows, and "
                    f"{migration.app_label}.{operation.name} made with the same fields. If it is "
                    f"the same, {instead}"
                )


def _alike(one: models.Field[Any, Any] | None, other: models.Field[Any, Any]) -> bool:
    """Return whether two fields are of one kind and refer to the same model."""
    return type(one) is type(other) and _points_at(one) == _points_at(other)


def _points_at(field: Any) -> str:
    to = field.deconstruct()[3].get("to", "")
    return str(to).lower()
