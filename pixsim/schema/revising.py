"""New migrations from what changed in the models, with hints for their reviewer."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.utils import run_formatters
from django.db import models
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.utils.text import slugify

from pixsim.schema.errors import Declined, SchemaError, UsageError
from pixsim.schema.history import load_migrations
from pixsim.schema.revision_plan import LONGEST_NAME, Hint, Planned
from pixsim.schema.target_parsing import Key

CLASS = "class Migration(migrations.Migration):\n"


@dataclass(frozen=True)
class Revision:
    """A migration that was written."""

    migration: Migration
    file: Path
    hints: tuple[Hint, ...]
    is_later: bool
    """Whether it waits for the release after."""

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


def write(planned: Sequence[Planned]) -> dict[Key, Path]:
    """Write the files, formatted."""
    written: dict[Key, Path] = {}
    for each in planned:
        writer = MigrationWriter(each.migration, include_header=False)
        path = Path(writer.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            text = plain_imports(writer.as_string())
            if not each.migration.atomic:  # which Django's writer does not say
                text = text.replace(CLASS, f"{CLASS}    atomic = False\n\n", 1)
            path.write_text(f"{each.docstring}\n\n{text}", "utf-8")
        except (OSError, ValueError) as error:
            there = ", ".join(map(str, written.values())) or "Nothing"
            raise SchemaError(f"{path} cannot be written: {error}. {there} was written.") from error
        written[each.key] = path
    _format(written.values())
    importlib.invalidate_caches()
    return written


def _format(paths: Iterable[Path]) -> None:
    """Format files with ruff, else with black, if the project has one of them."""
    files = [str(each) for each in paths]
    ruff = shutil.which(
        "ruff", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath])
    )
    ruff = ruff or shutil.which("ruff")
    if ruff and files:
        subprocess.run([ruff, "check", "--quiet", "--select", "I", "--fix", *files], check=False)
        subprocess.run([ruff, "format", "--quiet", *files], check=False)
    else:
        run_formatters(files)


def plain_imports(text: str) -> str:
    """Return the text of a migration with names imported from their modules, as people write it."""
    for module in re.findall(r"^import (\S+)$", text, re.M):
        names = sorted(set(re.findall(rf"\b{re.escape(module)}\.([A-Za-z_]\w*)\b(?!\.)", text)))
        if not names or module.count(".") == 0:
            continue
        text = text.replace(f"import {module}\n", f"from {module} import {', '.join(names)}\n", 1)
        text = re.sub(rf"(?<!from )\b{re.escape(module)}\.(?={'|'.join(names)})", "", text)
    return text


def read_back(written: dict[Key, Path], planned: Sequence[Planned]) -> list[Revision]:
    """Return what was written, with hints. Raise SchemaError if a file cannot be imported."""
    loader = load_migrations(None)
    return [
        Revision(loader.disk_migrations[each.key], written[each.key], each.hints, each.is_later)
        for each in planned
    ]
