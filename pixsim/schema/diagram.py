"""A diagram of the tables in Mermaid's language, as a page of Markdown."""

import re
from collections.abc import Iterable, Iterator, Mapping

from pixsim.schema.catalog import Constraint, Schema, Table
from pixsim.schema.ownership import own_apps
from pixsim.schema.schema_sql import TableDocs, foreign_keys, tables_by_app


def as_mermaid(
    schema: Schema, docs: Mapping[str, TableDocs], *, introduction: Iterable[str]
) -> str:
    """Return a page with the tables of the project's own apps, their keys and what they refer to."""
    own = own_apps()
    lines = [*introduction, "", "```mermaid", "erDiagram"]
    for app, tables in tables_by_app(schema, docs).items():
        if app in own:
            lines.append(f"    %% {app}")
            for table in tables:
                lines += _entity(table)
                lines += (_relation(table, key) for key in foreign_keys(table))
    return "\n".join([*lines, "```"]) + "\n"


def _entity(table: Table) -> Iterator[str]:
    """Yield the table with the columns of its keys."""
    primary = {name for each in _constraints(table, "primary key") for name in each.columns}
    foreign = {name for each in foreign_keys(table) for name in each.columns}
    yield f"    {_quoted(table.name)} {{"
    for column in table.columns.values():
        kinds = [kind for kind, names in (("PK", primary), ("FK", foreign)) if column.name in names]
        if kinds:
            yield f"        {_word(column.type)} {_word(column.name)} {', '.join(kinds)}"
    yield "    }"


def _relation(table: Table, key: Constraint) -> str:
    columns = [table.columns[name] for name in key.columns]
    unique = any(
        set(each.columns) <= set(key.columns)
        for kind in ("primary key", "unique")
        for each in _constraints(table, kind)
    )
    many = "|o" if unique else "}o"
    one = "o|" if any(column.nullable for column in columns) else "||"
    names = ", ".join(key.columns).replace('"', "'")
    return f'    {_quoted(table.name)} {many}--{one} {_quoted(key.to_table)} : "{names}"'


def _constraints(table: Table, kind: str) -> list[Constraint]:
    return [each for each in table.constraints.values() if each.kind == kind]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', "") + '"'


def _word(text: str) -> str:
    """Return the text as Mermaid takes a type or an attribute: one word."""
    return re.sub(r"[^\w()\[\]-]+", "_", text).strip("_")
