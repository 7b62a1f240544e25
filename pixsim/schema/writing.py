"""A schema as SQL to read and to run: the tables by app, with what their models say of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.apps import apps

from pixsim.schema.catalog import Column, Constraint, Schema, Sequence, Table, quoted
from pixsim.schema.drift import BOOKKEEPING
from pixsim.schema.ownership import own_apps

ELSEWHERE = ""
"""The app of a table that no model knows."""
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
"""Words that SQL keeps for itself."""
KINDS = ("primary key", "unique", "exclusion", "check", "foreign key")


@dataclass(frozen=True)
class About:
    """What the models say of a table."""

    app: str = ELSEWHERE
    sentence: str = ""
    columns: Mapping[str, str] | None = None
    """Help texts by column."""


def about_tables() -> dict[str, About]:
    """By table, in the order of the apps: those of the project first."""
    ours = own_apps()
    configs = sorted(apps.get_app_configs(), key=lambda app: app.label not in ours)
    return {
        model._meta.db_table: About(
            app=config.label,
            sentence=_first_paragraph(model),
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


def in_order(schema: Schema, about: Mapping[str, About]) -> dict[str, list[Table]]:
    """The tables by app; in an app a table comes after those that it refers to, as far as it goes."""
    order: dict[str, list[Table]] = {each.app: [] for each in (*about.values(), About())}
    app_of = {name: about.get(name, About()).app for name in schema.tables}
    placed: set[str] = set(BOOKKEEPING)

    def place(name: str) -> None:
        if name in placed:
            return
        placed.add(name)
        for key in keys_of(schema.tables[name]):
            if app_of.get(key.to_table) == app_of[name]:
                place(key.to_table)
        order[app_of[name]].append(schema.tables[name])

    for name in sorted(schema.tables):
        place(name)
    return {app: tables for app, tables in order.items() if tables}


def keys_of(table: Table) -> list[Constraint]:
    """The foreign keys of the table, in the order of its columns."""
    places = {name: place for place, name in enumerate(table.columns)}
    found = [each for each in table.constraints.values() if each.kind == "foreign key"]
    return sorted(found, key=lambda each: [places[name] for name in each.columns])


def as_sql(schema: Schema, about: Mapping[str, About], *, introduction: Iterable[str]) -> str:
    """The whole schema as one script. Run in an empty database it makes the same schema.

    The text is the same from every supported server.
    """
    lines = [f"-- {line}".rstrip() for line in introduction]
    for type_ in schema.types.values():
        kind = "TYPE" if type_.kind == "enum" else "DOMAIN"
        lines += ["", f"CREATE {kind} {_name(type_.name)} AS {type_.definition};"]
    for sequence in schema.sequences.values():
        if not sequence.owner:
            words = ["CREATE SEQUENCE", _name(sequence.name), "AS", sequence.type]
            lines += ["", f"{' '.join([*words, *_counting(sequence)])};"]
    keys: list[str] = []
    for app, tables in in_order(schema, about).items():
        for table in tables:
            lines += ["", *_table(schema, table, about.get(table.name, About()), app)]
            keys += _keys(table)
    if keys:
        lines += ["", "-- Foreign keys", *keys]
    return "\n".join(lines) + "\n"


def _first_paragraph(model: type) -> str:
    """Of what the class says of itself; empty if that is what Django wrote there."""
    text = inspect.getdoc(model) or ""
    if text.startswith(f"{model.__name__}("):
        return ""
    return " ".join(text.partition("\n\n")[0].split())


def _table(schema: Schema, table: Table, about: About, app: str) -> Iterator[str]:
    yield f"-- {app}: {about.sentence}" if about.sentence else f"-- {app}"
    said = about.columns or {}
    bodies = [
        (f"{_name(column.name)} {_column(schema, column)}", said.get(column.name, ""))
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
    words = [column.type]
    if column.collation:
        words.append(f"COLLATE {quoted(column.collation)}")
    if column.generated is not None:
        words.append(f"GENERATED ALWAYS AS ({_one_line(column.generated)}) STORED")
    if column.default is not None:
        words.append(f"DEFAULT {_one_line(column.default)}")
    if not column.nullable:
        words.append("NOT NULL")
    if column.counter:
        words.append(f"GENERATED {column.counter.upper()} AS IDENTITY")
        if how := " ".join(_counting(schema.counter(column))):
            words.append(f"({how})")
    return " ".join(words)


def _counting(sequence: Sequence | None) -> list[str]:
    """How it counts, if not by one from one."""
    if sequence is None or (sequence.increment, sequence.start, sequence.cycles) == (1, 1, False):
        return []
    cycle = ["CYCLE"] if sequence.cycles else []
    return [f"START {sequence.start} INCREMENT {sequence.increment}", *cycle]


def _keys(table: Table) -> Iterator[str]:
    for key in keys_of(table):
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
    """Without the line breaks that the server puts into CASE."""
    return re.sub(r"\s*\n\s*", " ", text)
