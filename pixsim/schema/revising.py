"""New migrations from what changed in the models, with hints for their reviewer."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from django.apps import apps
from django.core.management.utils import run_formatters
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import AddField, CreateModel, DeleteModel, Migration, RemoveField
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.utils.text import slugify

from pixsim.schema.destructive_changes import walk
from pixsim.schema.errors import Declined, SchemaError, UsageError
from pixsim.schema.history import load_migrations
from pixsim.schema.target_parsing import Key
from pixsim.schema.unsafe import review

LONGEST_NAME = 60
"""Of a file, without its number: what a message says beyond that stands in the docstring."""


@dataclass(frozen=True)
class Hint:
    """Something that a reviewer of the migration must look at."""

    kind: Literal["blocks", "breaks", "rename"]
    """It blocks its table, breaks code that still runs, or drops what may only have been renamed."""
    text: str


@dataclass(frozen=True)
class Revision:
    """A migration that was written."""

    migration: Migration
    file: Path
    hints: tuple[Hint, ...]

    @property
    def key(self) -> Key:
        return self.migration.app_label, self.migration.name


class Questioner(MigrationQuestioner):
    """Answer the autodetector's questions. `ask` raises Declined for no."""

    def __init__(self, ask: Any, chosen: set[str]) -> None:
        super().__init__(specified_apps=chosen)
        self._ask = ask

    def ask_rename(
        self,
        model_name: str,
        old_name: str,
        new_name: str,
        field_instance: models.Field[Any, Any],
    ) -> bool:
        kind = type(field_instance).__name__
        return self._is_yes(f"Was {model_name}.{old_name} renamed to {new_name} ({kind})?")

    def ask_rename_model(self, old_model_state: Any, new_model_state: Any) -> bool:
        old, new = old_model_state, new_model_state
        return self._is_yes(f"Was the model {old.app_label}.{old.name} renamed to {new.name}?")

    def ask_not_null_addition(self, field_name: str, model_name: str) -> Any:
        raise SchemaError(
            f"{model_name}.{field_name} is new and not null, and says nothing of the rows that are "
            f"there. Nothing was written. Give it a db_default, or make it null=True first."
        )

    ask_auto_now_add_addition = ask_not_null_addition

    def ask_not_null_alteration(self, field_name: str, model_name: str) -> Any:
        return models.NOT_PROVIDED  # rows that are null stop it, unless a step before fills them

    def _is_yes(self, question: str) -> bool:
        try:
            self._ask(question)
        except Declined:
            return False
        return True


def detect(
    loader: MigrationLoader, questioner: Questioner, *, chosen: set[str], message: str, empty: bool
) -> list[Migration]:
    """Return the migrations that lead from the files to the models, of the `chosen` apps and what
    they depend on, or of all; with `empty`, one without operations for each chosen app.

    Raise UsageError if the message gives no name, SchemaError if only the author of the models can
    answer a question.
    """
    detector = MigrationAutodetector(
        loader.project_state(), ProjectState.from_apps(apps), questioner
    )
    name = file_name(message) if message else None
    if empty:
        made = {app: [Migration("custom", app)] for app in chosen}
        changes = detector.arrange_for_graph(made, loader.graph, migration_name=name)
    else:
        changes = detector.changes(
            loader.graph,
            trim_to_apps=chosen or None,
            convert_apps=chosen or None,
            migration_name=name,
        )
    return [each for migrations in changes.values() for each in migrations]


def file_name(message: str) -> str:
    """Return the file name of a migration with this message."""
    name = slugify(message).replace("-", "_")
    if not name:
        raise UsageError(f"{message!r} makes no name for a file: say it in letters or digits.")
    return name[:LONGEST_NAME].rstrip("_")


def write(migrations: Sequence[Migration], message: str) -> dict[Key, Path]:
    """Write the files, with `message` or a list of the operations as their docstring."""
    written: dict[Key, Path] = {}
    for migration in migrations:
        writer = MigrationWriter(migration, include_header=False)
        path = Path(writer.path)
        says = message or "; ".join(each.describe() for each in migration.operations)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(f"{_docstring(says)}\n\n{writer.as_string()}", encoding="utf-8")
        except (OSError, ValueError) as error:
            there = ", ".join(map(str, written.values())) or "Nothing"
            raise SchemaError(f"{path} cannot be written: {error}. {there} was written.") from error
        written[migration.app_label, migration.name] = path
    run_formatters(map(str, written.values()))
    importlib.invalidate_caches()
    return written


def review_written(written: dict[Key, Path], connection: BaseDatabaseWrapper) -> list[Revision]:
    """Read back what was written, and return it with hints. Query no database."""
    loader = load_migrations(None)
    new = [loader.disk_migrations[key] for key in written]
    hints: dict[Key, list[Hint]] = {key: [] for key in written}
    gone: list[tuple[Migration, DeleteModel, ProjectState]] = []
    for migration, before in walk(loader, new):
        own = hints[migration.app_label, migration.name]
        own += [Hint(each.kind, str(each)) for each in review(migration, before, connection)]
        own += [Hint("rename", text) for text in _renamed_fields(migration, before)]
        gone += [
            (migration, operation, before)
            for operation in migration.operations
            if isinstance(operation, DeleteModel)
        ]
    for migration, deleted, before in gone:
        texts = _renamed_models(migration.app_label, deleted, before, new)
        hints[migration.app_label, migration.name] += [Hint("rename", text) for text in texts]
    return [
        Revision(loader.disk_migrations[key], path, tuple(hints[key]))
        for key, path in written.items()
    ]


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
                    f"and {new.name} added, of the same kind. If it is a rename, say "
                    f'RenameField("{operation.model_name}", "{operation.name}", "{new.name}") instead'
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
                    f'RenameModel("{deleted.name}", "{operation.name}")'
                    if migration.app_label == app
                    else "SeparateDatabaseAndState, which leaves the table where it is,"
                )
                yield (
                    f"{app}.{deleted.name} is dropped with all its rows, and "
                    f"{migration.app_label}.{operation.name} made with the same fields. If it is "
                    f"the same, say {instead} instead"
                )


def _alike(one: models.Field[Any, Any] | None, other: models.Field[Any, Any]) -> bool:
    """Return whether two fields are of one kind and refer to the same model."""
    return type(one) is type(other) and _points_at(one) == _points_at(other)


def _points_at(field: Any) -> str:
    to = field.deconstruct()[3].get("to", "")
    return str(to).lower()


def _docstring(text: str) -> str:
    plain = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"""{plain}{"" if plain.endswith((".", "!", "?")) else "."}"""'
