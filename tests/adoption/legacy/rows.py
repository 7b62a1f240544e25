"""Rows by the thousand from a few lines of SQL: every column is an expression of a number `n`."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.adoption.legacy.building import Run
from tests.tables import Table


class Rows(NamedTuple):
    """`source` yields `n` (and may join); `columns` are expressions. What a state lacks is left out."""

    source: str
    columns: Mapping[str, str]


def fill(run: Run, tables: Mapping[str, Table], rows: Mapping[str, Rows], **numbers: int) -> None:
    """Insert `rows` in their order. `{name}` in SQL stands for a number.

    Keys come from the sequences, as they did, and every sequence ends beyond its last row.
    """
    for table, (source, columns) in rows.items():
        if table not in tables:
            continue
        present = {column.name for column in tables[table].columns}
        chosen = {name: sql for name, sql in columns.items() if name in present}
        statement = (
            f"INSERT INTO {table} ({', '.join(chosen)})"
            f" SELECT {', '.join(chosen.values())} FROM {source} ORDER BY n"
        )
        for name, number in numbers.items():
            statement = statement.replace("{" + name + "}", str(number))
        run(statement)
        if tables[table].columns[0].type == "integer":
            run(f"SELECT setval('{table}_id_seq', (SELECT max(id) + 17 FROM {table}))")
