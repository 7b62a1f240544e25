"""Real Django apps with migration packages, made in a temporary folder for one test."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

HEADER = "from django.db import migrations, models\n\n"
INITIAL = (
    'migrations.CreateModel("{model}", [("id", models.AutoField(primary_key=True, serialize=False)),'
    ' ("name", models.TextField(default=""))])'
)


def migration(
    operations: str = "", *, depends: list[tuple[str, str]] | None = None, more: str = ""
) -> str:
    """The text of a migration file. `operations` are list items, `more` other attributes."""
    return (
        f"{HEADER}class Migration(migrations.Migration):\n"
        f"    dependencies = {depends or []!r}\n    operations = [{operations}]\n    {more}\n"
    )


def creates(model: str, **options) -> str:
    """A migration that creates `model`, with the columns id and name."""
    return migration(INITIAL.format(model=model), **options)


def adds(model: str, column: str, field: str, **options) -> str:
    """A migration that adds a column, `field` as in `models.TextField(null=True)`."""
    return migration(f'migrations.AddField("{model}", "{column}", {field})', **options)


class Packages:
    """The apps of one test. Only they and the tool are installed, unless `with_ours`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.others: list[str] = []
        """More apps that are installed, such as Django's; set it before `add`."""
        self._labels: list[str] = []
        self._with_ours = False
        self._installed = False

    def add(
        self, app: str, migrations: Mapping[str, str], *, models: str = "", with_ours: bool = False
    ) -> Path:
        """Make and install an app; its folder. `models` are classes, the imports are there."""
        home = self.folder / app
        (home / "migrations").mkdir(parents=True)
        (home / "__init__.py").touch()
        (home / "migrations" / "__init__.py").touch()
        (home / "models.py").write_text(f"from django.db import models\n\n{models}\n")
        for name, text in migrations.items():
            (home / "migrations" / f"{name}.py").write_text(text)
        self._labels.append(app)
        self._with_ours = self._with_ours or with_ours
        self._install()
        return home

    def write(self, app: str, name: str, text: str) -> None:
        """Add a migration, or change one."""
        (self.folder / app / "migrations" / f"{name}.py").write_text(text)
        self._forget_modules(f"{app}.migrations.{name}")

    def remove(self, app: str, name: str) -> None:
        """Delete the file of a migration."""
        (self.folder / app / "migrations" / f"{name}.py").unlink()
        self._forget_modules(f"{app}.migrations.{name}")

    def models(self, app: str, text: str) -> None:
        """Change the models of an app."""
        (self.folder / app / "models.py").write_text(f"from django.db import models\n\n{text}\n")
        self._install()

    def close(self) -> None:
        """Leave nothing behind."""
        self._uninstall()
        for label in self._labels:
            self._forget_modules(label)

    def _install(self) -> None:
        self._uninstall()
        for label in self._labels:
            self._forget_modules(label)
        ours = settings.INSTALLED_APPS if self._with_ours else ["pixsim.schema", "pixsim.adoption"]
        apps.set_installed_apps([*ours, *self.others, *self._labels])
        self._installed = True

    def _uninstall(self) -> None:
        if self._installed:
            apps.unset_installed_apps()
            self._installed = False
        for label in self._labels:
            apps.all_models.pop(label, None)
        apps.clear_cache()

    @staticmethod
    def _forget_modules(name: str) -> None:
        for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
            del sys.modules[each]
        importlib.invalidate_caches()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """Apps of this test alone."""
    # Files that change within a second would be read from stale bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Packages(tmp_path)
    try:
        yield made
    finally:
        made.close()
