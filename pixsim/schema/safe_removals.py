"""Columns and tables that are renamed or dropped: what is done now, and what a release later."""

from __future__ import annotations

from typing import Any

from django.db.migrations import RunSQL, SeparateDatabaseAndState, operations
from django.db.migrations.operations.base import Operation

from pixsim.core.db.column_copies import CopyColumn, DropColumnCopy
from pixsim.schema.errors import SchemaError
from pixsim.schema.safe_parts import (
    AnyField,
    Before,
    Part,
    as_it_is,
    default_sql,
    is_parent_link,
    is_referred_to,
    key_of,
    operations_of,
    place_of,
    refuse_dependants,
    steps_again,
    steps_of,
)
from pixsim.schema.safe_statements import drop_foreign_keys, not_null, safe_steps
from pixsim.schema.sql_collector import NeedsDatabase


def rename_field(operation: Any, before: Before) -> list[Part]:
    old = before.field(operation.model_name, operation.old_name)
    new = before.after(operation).field(operation.model_name, operation.new_name)
    if old.many_to_many:
        return [as_it_is(operation)]
    return move_column(operation, before, old, new)


def move_column(operation: Any, before: Before, old: AnyField, new: AnyField) -> list[Part]:
    """Return how a column gets another name: both names at first, and one a release later."""
    after = before.after(operation)
    (table, column), (_, old_column) = place_of(new), place_of(old)
    keep = f"Keep the column with db_column={old.column!r}, which costs nothing and breaks nobody."
    name = f"{operation.model_name}.{old.name}"
    if old.primary_key or is_referred_to(old):
        raise SchemaError(
            f"{name} is renamed, and other tables refer to it. Nothing was written. {keep}"
        )
    if before.column_type(old) != after.column_type(new):
        raise SchemaError(
            f"{name} changes its column and its type at once. Nothing was written. Change one at a "
            f"time, each with its `db revision`."
        )
    refuse_dependants(before, operation.model_name, old.name, f"{name} is renamed", keep=keep)
    ends = {"table": table, "key": key_of(new, keep)}
    copied = CopyColumn(column=old_column, copy=column, type=after.column_type(new), **ends)
    steps = steps_of(after, operation.model_name, new.name)
    now = Part(
        (copied, *operations_of(steps), SeparateDatabaseAndState([], [operation])),
        f"The column {table}.{column} stands beside {table}.{old_column}: a trigger keeps both "
        f"equal, whichever is written, and rows are filled in ranges of keys. Code that runs goes "
        f"on with {old_column}; {old_column} is dropped a release later",
        f"drops {table}.{column}; {old_column} has all that was written",
        atomic=False,
        topic="rename",
    )
    later = Part(
        (
            *_dress_again(before, operation.model_name, old, new, after),
            DropColumnCopy(column=column, copy=old_column, type=before.column_type(old), **ends),
        ),
        f"The column {table}.{old_column} is dropped, which only older code asks for",
        f"adds {table}.{old_column} again and fills it in ranges of keys",
        breaks=f"code of the release before, which reads and writes {table}.{old_column}",
        atomic=False,
        is_later=True,
        keeps=(f"{table}.{old_column}",),
    )
    return [now, later]


def _dress_again(
    before: Before, model: str, old: AnyField, new: AnyField, after: Before
) -> list[Operation]:
    """Return what the old column gets on the way back, and the default that the new one gets."""
    done: list[Operation] = [
        step.only_backwards for step in reversed(steps_again(before, model, old.name))
    ]
    for place, one, is_new in ((before, old, False), (after, new, True)):
        if not one.has_db_default():
            continue
        source = place.model_state(model).fields[one.name]
        text = default_sql(operations.AlterField(model, one.name, source), place, one.db_default)
        alter = f'ALTER TABLE "{new.model._meta.db_table}" ALTER COLUMN "{one.column}"'
        if is_new:
            done.append(RunSQL(f"{alter} SET DEFAULT {text}", f"{alter} DROP DEFAULT"))
        else:
            done.insert(0, RunSQL(RunSQL.noop, f"{alter} SET DEFAULT {text}"))
    return done


def rename_table(operation: Any, before: Before) -> list[Part]:
    """Return how a table gets another name: the old one stays as a view until the release after."""
    old_model, new_model = (
        (operation.old_name, operation.new_name)
        if isinstance(operation, operations.RenameModel)
        else (operation.name, operation.name)
    )
    old = before.model(old_model)._meta.db_table
    new = before.after(operation).model(new_model)._meta.db_table
    try:
        said = before.statements(operation)
    except NeedsDatabase:
        said = []
    if said != [f'ALTER TABLE "{old}" RENAME TO "{new}";']:
        raise SchemaError(
            f"{old} is renamed to {new}, and so are tables or columns that refer to it. Nothing was "
            f"written. Keep the names with Meta.db_table = {old!r} (and db_table of its many-to-many "
            f"fields), which costs nothing and breaks nobody."
        )
    view = f'CREATE VIEW "{old}" AS SELECT * FROM "{new}"'
    drop = f'DROP VIEW IF EXISTS "{old}"'
    return [
        Part(
            (operation, RunSQL(view, drop)),
            f"{old} is called {new}. A view of the old name takes reads and writes of code that "
            f"still runs; it is dropped a release later",
            f"drops the view and gives {new} its old name",
            topic="rename",
        ),
        Part(
            (RunSQL(drop, view),),
            f"The view {old} is dropped, which only older code asks for",
            f"makes the view {old} again",
            breaks=f"code of the release before, which asks for {old}",
            is_later=True,
            keeps=(old,),
        ),
    ]


def remove_field(operation: Any, before: Before) -> list[Part]:
    old = before.field(operation.model_name, operation.name)
    if old.primary_key or is_parent_link(old):
        return [as_it_is(operation)]
    if old.many_to_many:
        return retire_tables(operation, before)
    table, column = place_of(old)
    source = before.model_state(operation.model_name).fields[operation.name]
    steps = steps_again(before, operation.model_name, operation.name)
    relaxed, rest, definition = _relax(operation, before, source, old)
    in_database = [*relaxed]
    for step in steps:
        if step.kind == "foreign key":
            in_database.append(RunSQL(drop_foreign_keys(table, column), list(step.forwards)))
    again = [
        step.only_backwards
        for step in reversed(steps)
        if step.kind not in ("foreign key", "not null")
    ]
    name = f"{table}.{column}"
    required = (
        ", and fails while a row has no value: fill it first" if "may be null" in rest else ""
    )
    now = Part(
        (SeparateDatabaseAndState(in_database, [operation]),),
        f"{name} is no longer in the models. The column stays for code that still runs{rest}; it is "
        f"dropped a release later",
        f"brings {name} back, with what is in it{required}",
        atomic=False if in_database else None,
        topic="remove",
    )
    later = Part(
        (
            *again,
            RunSQL(
                f'ALTER TABLE "{table}" DROP COLUMN IF EXISTS "{column}"',
                f'ALTER TABLE "{table}" ADD COLUMN IF NOT EXISTS "{column}" {definition}',
            ),
        ),
        f"The column {name} is dropped, which only older code asks for",
        f"adds the column {name} without what was in it",
        breaks=f"code of the release before, which reads and writes {name}",
        atomic=not again,
        is_later=True,
        keeps=(name,),
    )
    return [now, later]


def _relax(
    operation: Any, before: Before, source: AnyField, old: AnyField
) -> tuple[list[Operation], str, str]:
    """Return what lets new code insert rows without the column, how the docstring says it, and the
    column's definition from then on."""
    definition = before.column_type(old)
    alter = f'ALTER TABLE "{old.model._meta.db_table}" ALTER COLUMN "{old.column}"'
    if old.generated:
        return [], "", definition
    in_place = operations.AlterField(operation.model_name, operation.name, source)
    if old.has_db_default():
        text = default_sql(in_place, before, old.db_default)
        required = "" if old.null else " NOT NULL"
        return [], "", f"{definition} DEFAULT {text}{required}"
    if old.null:
        return [], "", definition
    is_constant = old.has_default() and (not callable(old.default) or isinstance(old.default, type))
    if is_constant and not old.unique:
        text = default_sql(in_place, before, old.get_default())
        done = RunSQL(f"{alter} SET DEFAULT {text}", f"{alter} DROP DEFAULT")
        return [done], " and has a default now", f"{definition} DEFAULT {text} NOT NULL"
    step = not_null(*place_of(old))
    done = RunSQL(list(step.backwards), list(step.forwards))
    return [done], " and may be null now", definition


def retire_tables(operation: Any, before: Before) -> list[Part]:
    """Return how the tables of a model, or of a many-to-many field, are dropped."""
    drop = before.statements(operation)
    make = before.statements(operation, backwards=True)
    is_key = [" FOREIGN KEY " in each for each in make]
    tables = [each.split('"')[1] for each in drop if each.startswith("DROP TABLE")]
    in_database: list[Operation] = []
    for table in tables:
        own = [
            each
            for each, key in zip(make, is_key, strict=True)
            if key and each.startswith(f'ALTER TABLE "{table}"')
        ]
        steps = safe_steps(own) or []
        if steps:
            again = [statement for step in steps for statement in step.forwards]
            in_database.append(RunSQL(drop_foreign_keys(table), [*again]))
    names = " and ".join(tables)
    return [
        Part(
            (SeparateDatabaseAndState(in_database, [operation]),),
            f"{names} is no longer in the models. The table stays for code that still runs, without "
            f"its foreign keys, so that rows that it refers to can be deleted; it is dropped a "
            f"release later",
            f"brings {names} back, with what is in it",
            atomic=False if in_database else None,
            topic="remove",
        ),
        Part(
            (
                RunSQL(
                    [*drop],
                    [each for each, key in zip(make, is_key, strict=True) if not key],
                ),
            ),
            f"The table {names} is dropped, which only older code asks for",
            f"makes the table {names} again, without its rows",
            breaks=f"code of the release before, which asks for {names}",
            is_later=True,
            keeps=tuple(tables),
        ),
    ]
