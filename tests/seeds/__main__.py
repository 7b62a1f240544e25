"""`make seeds`: run every row, print the table, and say which rows failed.

With `--write`, write docs/coming-from.md first.
"""

import os
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"fulfilled": "green", "translated": "cyan", "refused": "yellow"}
WIDTH_OF_FILES = 200


@dataclass(frozen=True)
class Ran:
    """One row as it ran."""

    guide: str
    sentence: str
    verdict: str
    commands: list[str]
    failure: str

    @property
    def is_ok(self) -> bool:
        return not self.failure


@dataclass
class Collector:
    """The plug-in of pytest that keeps what each row ran."""

    rows: list[Ran] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said: dict[str, Any] = dict(report.user_properties)
        if "guide" in said and (report.when == "call" or report.failed):
            failure = report.longreprtext.splitlines()[-1:] if report.failed else []
            self.rows.append(
                Ran(
                    said["guide"], said["sentence"], said["verdict"], said.get("ran", []),
                    failure[0] if failure else "",
                )
            )  # fmt: skip


def main() -> int:
    if "--write" in sys.argv[1:]:
        _write_page()
    collector = Collector()
    folder = str(Path(__file__).parent)
    code = pytest.main([folder, "--quiet", "--no-header", "--tb=short"], plugins=[collector])
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
    console.print(_table(collector.rows))
    failed = sum(not row.is_ok for row in collector.rows)
    console.print(f"{len(collector.rows)} rows, {failed} not as they say.")
    return int(code)


def _write_page() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    page = import_module("tests.seeds.page")  # reads models, so it comes after the set-up
    page.write()


def _table(rows: list[Ran]) -> Table:
    table = Table("guide", "sentence", "verdict", "what was run", "ok", show_lines=False)
    for row in rows:
        ok = "[green]ok[/]" if row.is_ok else f"[red]no: {escape(row.failure)}[/]"
        verdict = f"[{STYLES[row.verdict]}]{row.verdict}[/]"
        commands = escape("\n".join(dict.fromkeys(row.commands)))
        table.add_row(row.guide, escape(row.sentence), verdict, commands, ok)
    return table


if __name__ == "__main__":
    sys.exit(main())
