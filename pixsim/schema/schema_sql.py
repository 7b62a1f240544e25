"""A schema as SQL to read and to run: the tables by app, with the docstrings of their models."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.apps import apps

from pixsim.schema.catalog import Column, Constraint, Schema, Sequence, Table, quoted
from pixsim.schema.drift import BOOKKEEPING
from pixsim.schema.ownership import own_apps

PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
RESERVED = re.compile(
    "all|analyse|analyze|and|any|array|as|asc|asymmetric|authorization|binary|both|case|"
    "cast|check|collate|collation|column|concurrently|constraint|create|cross|"
    "current_catalog|current_date|current_role|current_schema|current_time|"
    "current_timestamp|current_user|default|deferrable|desc|distinct|do|else|end|except|"
    "false|fetch|for|foreign|freeze|from|full|grant|group|having|ilike|in|initially|"
    "inner|intersect|into|is|isnull|join|lateral|leading|left|like|limit|localtime|"
    "localtimestamp|natural|not|notnull|null|offset|on|only|or|order|outer|overlaps|"
    "placing|primary|references|returning|right|select|session_user|similar|some|"
    "symmetric|system_user|table|tablesample|then|to|trailing|true|union|unique|user|"
    "using|variadic|verbose|when|where|window|with"
)
"""Words that are no names in SQL unless they are quoted."""
KINDS = ("primary key", "unique", "exclusion", "check", "foreign key")


@dataclass(frozen=True)
class TableDocs:
    """The documentation of a table: its model's docstring and help texts."""

    app: str = ""
    """Empty for a table that no model has."""
    summary: str = ""
    columns: Mapping[str, str] | None = None
    """Help texts by column."""


def table_docs() -> dict[str, TableDocs]:
    """Return the documentation of each table, those of the project's apps first."""
    ours = own_apps()
    configs = sorted(apps.get_app_configs(), key=lambda app: app.label not in ours)
    return {
        model._meta.db_table: TableDocs(
            app=config.label,
            summary=_summary(model),
            columns={
                field.column: str(field.help_text)
                for field in model._meta.local_concrete_fields
                if field.help_text and field.column
            },
        )
        for config in configs
        for model in config.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    }


def tables_by_app(schema: Schema, docs: Mapping[str, TableDocs]) -> dict[str, list[Table]]:
    """Return the tables by app. In an app a table comes after those that it refers to, if no circle
    of foreign keys prevents it."""
    order: dict[str, list[Table]] = {each.app: [] for each in (*docs.values(), TableDocs())}
    app_of = {name: docs.get(name, TableDocs()).app for name in schema.tables}
    placed: set[str] = set(BOOKKEEPING)

    def place(name: str) -> None:
        if name in placed:
            return
        placed.add(name)
        for key in foreign_keys(schema.tables[name]):
            if app_of.get(key.to_table) == app_of[name]:
                place(key.to_table)
        order[app_of[name]].append(schema.tables[name])

    for name in sorted(schema.tables):
        place(name)
    return {app: tables for app, tables in order.items() if tables}


def foreign_keys(table: Table) -> list[Constraint]:
    """Return the foreign keys of the table, in the order of its columns."""
    places = {name: place for place, name in enumerate(table.columns)}
    found = [each for each in table.constraints.values() if each.kind == "foreign key"]
    return sorted(found, key=lambda each: [places[name] for name in each.columns])


def as_sql(schema: Schema, docs: Mapping[str, TableDocs], *, introduction: Iterable[str]) -> str:
    """Return a script that makes the schema in an empty database.

    The text is the same from every supported server.
    """
    lines = [f"-- {line}".rstrip() for line in introduction]
    for type_ in schema.types.values():
        kind = "TYPE" if type_.kind == "enum" else "DOMAIN"
        lines += ["", f"CREATE {kind} {_name(type_.name)} AS {type_.definition};"]
    for sequence in schema.sequences.values():
        if not sequence.owner:
            parts = ["CREATE SEQUENCE", _name(sequence.name), "AS", sequence.type]
            lines += ["", f"{' '.join([*parts, *_counting(sequence)])};"]
    keys: list[str] = []
    for app, tables in tables_by_app(schema, docs).items():
        for table in tables:
            lines += ["", *_table(schema, table, docs.get(table.name, TableDocs()), app)]
            keys += _keys(table)
    if keys:
        lines += ["", "-- Foreign keys", *keys]
    return "\n".join(lines) + "\n"


def _summary(model: type) -> str:
    """Return the first paragraph of the model's docstring; empty if Django wrote it."""
    text = inspect.getdoc(model) or ""
    if text.startswith(f"{model.__name__}("):
        return ""
    return " ".join(text.partition("\n\n")[0].split())


def _table(schema: Schema, table: Table, docs: TableDocs, app: str) -> Iterator[str]:
    yield f"-- {app}: {docs.summary}" if docs.summary else f"-- {app}"
    comments = docs.columns or {}
    bodies = [
        (f"{_name(column.name)} {_column(schema, column)}", comments.get(column.name, ""))
        for column in table.columns.values()
    ]
    bodies += [
        (f"CONSTRAINT {_name(each.name)} {_one_line(each.definition)}", "")
        for each in sorted(
            table.constraints.values(), key=lambda each: (KINDS.index(each.kind), each.name)
        )
        if each.kind != "foreign key" and each.validated
    ]
    yield f"CREATE {'' if table.logged else 'UNLOGGED '}TABLE {_name(table.name)} ("
    for place, (body, comment) in enumerate(bodies):
        comma = "," if place < len(bodies) - 1 else ""
        yield f"    {body}{comma}" + (f"  -- {' '.join(comment.split())}" if comment else "")
    if table.options:
        options = ", ".join(f"{name} = {value}" for name, value in sorted(table.options.items()))
        yield f") WITH ({options});"
    else:
        yield ");"
    for each in table.constraints.values():
        if each.kind != "foreign key" and not each.validated:
            yield _added(table, each)
    for index in table.indexes.values():
        unique = "UNIQUE " if index.unique else ""
        yield _one_line(
            f"CREATE {unique}INDEX {_name(index.name)} ON {_name(table.name)} {index.definition};"
        )
    for trigger in table.triggers.values():
        yield f"{_one_line(trigger.definition)};"


def _column(schema: Schema, column: Column) -> str:
    parts = [column.type]
    if column.collation:
        parts.append(f"COLLATE {quoted(column.collation)}")
    if column.generated is not None:
        parts.append(f"GENERATED ALWAYS AS ({_one_line(column.generated)}) STORED")
    if column.default is not None:
        parts.append(f"DEFAULT {_one_line(column.default)}")
    if not column.nullable:
        parts.append("NOT NULL")
    if column.counter:
        parts.append(f"GENERATED {column.counter.upper()} AS IDENTITY")
        if how := " ".join(_counting(schema.counter(column))):
            parts.append(f"({how})")
    return " ".join(parts)


def _counting(sequence: Sequence | None) -> list[str]:
    """Return the options of the sequence, if it does not count by one from one."""
    if sequence is None or (sequence.increment, sequence.start, sequence.cycles) == (1, 1, False):
        return []
    cycle = ["CYCLE"] if sequence.cycles else []
    return [f"START {sequence.start} INCREMENT {sequence.increment}", *cycle]


def _keys(table: Table) -> Iterator[str]:
    for key in foreign_keys(table):
        yield _added(table, key)


def _added(table: Table, constraint: Constraint) -> str:
    late = "" if constraint.validated else " NOT VALID"
    return (
        f"ALTER TABLE {_name(table.name)} ADD CONSTRAINT {_name(constraint.name)} "
        f"{_one_line(constraint.definition)}{late};"
    )


def _name(name: str) -> str:
    return name if PLAIN.fullmatch(name) and not RESERVED.fullmatch(name) else quoted(name)


def _one_line(text: str) -> str:
    """Return the text without the line breaks that the server puts into CASE."""
    return re.sub(r"\s*\n\s*", " ", text)
