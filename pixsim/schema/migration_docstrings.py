"""What a migration's docstring says: what it does, which locks it takes, the way back, and what breaks."""

import re
import textwrap
from collections.abc import Iterable, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, RunPython
from django.db.migrations.state import ProjectState

from pixsim.schema import unsafe
from pixsim.schema.destructive_changes import table_name
from pixsim.schema.history import docstring, remarks
from pixsim.schema.lock_levels import EXCLUSIVE, INSTANT, MAINTENANCE, TableLock, locks, paragraph

WIDTH = 88
LOCK, BACK, BREAKS = "Lock:", "Back:", "Breaks:"


def written(
    title: str,
    sentences: Iterable[str],
    *,
    found: Sequence[TableLock] | None,
    back: Iterable[str],
    breaks: Iterable[str],
) -> str:
    """Return the docstring of a new migration, with its quotes."""
    paragraphs = [
        _sentence(title[:1].upper() + title[1:]),
        " ".join(_sentence(each) for each in sentences),
        "" if found is None else paragraph(found),
        f"{BACK} {_sentence('; '.join(back))}" if back else "",
        f"{BREAKS} {_sentence('; '.join(dict.fromkeys(breaks)))}" if breaks else "",
    ]
    lines = [textwrap.fill(each, WIDTH, break_on_hyphens=False) for each in paragraphs if each]
    if len(lines) == 1:
        return f'"""{lines[0]}"""'
    return '"""{}\n"""'.format("\n\n".join(lines))


def title_only(title: str) -> str:
    """Return the docstring of a migration whose operations are still to be written."""
    return written(title, [], found=None, back=[], breaks=[])


def locks_of(
    migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper
) -> list[TableLock]:
    """Return the locks that a migration takes on tables that exist. Does not see what a RunPython
    does."""
    slow = [
        each.statement
        for each in unsafe.review(migration, state, connection)
        if each.kind == "blocks"
    ]
    said: list[str] = []
    more: list[TableLock] = []
    known = set()
    for operation, statements, before, _after in unsafe.each_in_sql(migration, state, connection):
        known.add(id(operation))
        said += statements
        table = _table(migration, operation, before)
        # What drops an index does not say of which table it is.
        if table and any(re.match(r"\s*DROP\s+INDEX\s", each, re.I) for each in statements):
            concurrently = any("CONCURRENTLY" in each for each in statements)
            more.append(TableLock(MAINTENANCE if concurrently else EXCLUSIVE, table, INSTANT))
    for operation in migration.operations:
        table = _table(migration, operation, state)
        if id(operation) not in known and operation.reduces_to_sql and table:
            more.append(
                TableLock(EXCLUSIVE, table, "while its constraints are dropped and made again")
            )
    return locks(said, slow, more)


def missing_paragraphs(
    migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper
) -> list[str]:
    """Return what the docstring of a migration does not say and has to: `a docstring`, `Lock:` if it
    locks a table that exists, `Back:` if it changes the database."""
    if not docstring(migration):
        return ["a docstring"]
    text = "\n\n".join(remarks(migration))
    missing = []
    found = locks_of(migration, state, connection)
    if found and LOCK not in text:
        missing.append(LOCK)
    steps_in_python = any(isinstance(each, RunPython) for each in migration.operations)
    if (found or steps_in_python) and not re.search(r"\bBack\b", text):
        missing.append(BACK)
    return missing


def _table(migration: Migration, operation: object, state: ProjectState) -> str:
    model = getattr(operation, "model_name", "")
    return table_name(state, migration.app_label, model) if model else ""


def _sentence(text: str) -> str:
    """Return the text in one line, with a full stop, as it stands between triple quotes."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f"{plain}{'' if plain.endswith(('.', '!', '?')) else '.'}"
