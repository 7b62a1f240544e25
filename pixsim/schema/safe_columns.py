"""Columns that are added and altered, in safe parts."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.db.migrations import RunSQL, SeparateDatabaseAndState, operations
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED
from django.db.models.functions import Now
from django.utils import timezone

from pixsim.core.db.column_copies import ColumnVersion, ReplaceColumn, new_copy, old_copy
from pixsim.core.db.operations import RunBackfill
from pixsim.schema.errors import SchemaError
from pixsim.schema.safe_parts import (
    AnyField,
    Before,
    Part,
    as_it_is,
    bare_field,
    changes_the_database,
    default_sql,
    forbids,
    is_parent_link,
    is_same,
    is_same_in_database,
    keeps_type,
    key_of,
    operations_of,
    place_of,
    refuse_dependants,
    steps_again,
    steps_if_safe,
    steps_of,
    with_options,
)
from pixsim.schema.safe_removals import move_column
from pixsim.schema.safe_statements import SafeStep, not_null
from pixsim.schema.unsafe import VOLATILE

IN_DATABASE: dict[Any, Any] = {uuid.uuid4: RandomUUID(), timezone.now: Now()}
"""Functions that are defaults, and what the database calls instead."""
INTEGERS = ("smallint", "integer", "bigint")
WIDENS = {
    *((old, new) for old in INTEGERS for new in INTEGERS[INTEGERS.index(old) + 1 :]),
    ("real", "double precision"),
}
"""Types whose values code that knows the old type can read and write in the new one."""


def add_field(operation: Any, before: Before) -> list[Part]:
    added: AnyField = operation.field
    after = before.after(operation)
    bound = after.field(operation.model_name, operation.name)
    if bound.primary_key or bound.many_to_many or bound.generated or is_parent_link(bound):
        return [as_it_is(operation)]
    table, column = place_of(bound)
    steps = [
        each
        for each in steps_of(after, operation.model_name, operation.name)
        if each.kind != "not null"
    ]
    default = _default_for_old_rows(bound)
    text = None if default is NOT_PROVIDED else default_sql(operation, before, default)
    if text is not None and re.match(rf"\(?{VOLATILE}", text, re.I):
        parts = [_column_part(operation, bare_field(added, null=True), bound, text)]
        parts.append(_own_values_part(bound, text))
        if not added.null:
            steps.insert(0, not_null(table, column, default=text))
    else:
        bare = bare_field(added, null=added.null)
        if text is not None:
            bare = with_options(bare, db_default=default)
        elif added.has_default():
            bare = with_options(bare, default=added.default)
        parts = [_column_part(operation, bare, bound, text)]
    if steps:
        parts.append(_steps_part(steps, table, column))
    return parts


def _default_for_old_rows(added: AnyField) -> Any:
    """Return the default that the database gets, or NOT_PROVIDED if the column may be null."""
    if added.has_db_default():
        return added.db_default
    if added.null:
        return NOT_PROVIDED
    if not added.has_default():
        return ""  # a text that may be blank; the autodetector has asked about all others
    if callable(added.default) and added.default in IN_DATABASE:
        return IN_DATABASE[added.default]
    if callable(added.default) and not isinstance(added.default, type):
        raise SchemaError(
            f"{added.model._meta.model_name}.{added.name} is not null, and its default is a "
            f"function, which the database cannot call for rows that are there and for code that "
            f"still runs. Nothing was written. Give it a db_default, or make it null=True first and "
            f"fill it by a backfill."
        )
    return added.get_default()


def _column_part(operation: Any, bare: AnyField, bound: AnyField, default: str | None) -> Part:
    """Return how the bare column is added: no row is read or rewritten."""
    name = f"{bound.model._meta.db_table}.{bound.column}"
    if is_same(bare, operation.field):
        safe: Operation = operation
    else:
        in_database: list[Operation] = [
            operations.AddField(operation.model_name, operation.name, bare)
        ]
        if default and not bare.has_db_default():
            alter = f'ALTER TABLE "{bound.model._meta.db_table}" ALTER COLUMN "{bound.column}"'
            in_database.append(RunSQL(f"{alter} SET DEFAULT {default}", f"{alter} DROP DEFAULT"))
        safe = SeparateDatabaseAndState(in_database, [operation])
    says = f"The column {name} is added"
    if default:
        says += (
            ". Its default stands in the database, so that code that still runs can insert rows "
            "without it"
        )
    return Part((safe,), says, f"drops the column {name}, and what is in it", topic="column")


def _own_values_part(bound: AnyField, default: str) -> Part:
    table, column = place_of(bound)
    key = key_of(bound, "Make it null=True, and fill it by a step of your own.")
    fill = RunBackfill(
        table=table, change=f'"{column}" = {default}', pending=f'"{column}" IS NULL', key=key
    )
    return Part(
        (fill,),
        f"Rows that are there get a value of {table}.{column} each, in ranges of keys",
        f"leaves the values of {table}.{column}",
        atomic=False,
        topic="fill",
    )


def _steps_part(steps: Sequence[SafeStep], table: str, column: str) -> Part:
    kinds = list(dict.fromkeys(each.kind for each in steps))
    return Part(
        tuple(operations_of(steps)),
        f"What belongs to {table}.{column} ({', '.join(kinds)}) is built and validated while others "
        f"read and write",
        f"drops what belongs to {table}.{column}",
        atomic=False,
        topic="constraints",
    )


def alter_field(operation: Any, before: Before) -> list[Part]:
    old = before.field(operation.model_name, operation.name)
    new = before.after(operation).field(operation.model_name, operation.name)
    if old.many_to_many or new.many_to_many or old.generated or new.generated:
        return [as_it_is(operation)]
    source = before.model_state(operation.model_name).fields[operation.name]
    if is_same_in_database(source, operation.field) and old.column == new.column:
        return [as_it_is(SeparateDatabaseAndState([], [operation]), atomic=None, says=operation)]
    if old.column != new.column:
        return move_column(operation, before, old, new)
    if not keeps_type(old, new, before):
        return _change_type(operation, before, old, new)
    if old.null != new.null:
        return _change_null(operation, before, old, new)
    steps = steps_if_safe(operation, before)
    if not steps:
        return [as_it_is(operation, back=_back_of_type(old, new, before))]
    table, column = place_of(new)
    built = _steps_part(steps, table, column)
    is_stricter = any(each.kind in ("unique", "check") for each in steps)
    return [
        replace(
            built,
            operations=(SeparateDatabaseAndState([*built.operations], [operation]),),
            breaks=forbids(table, f"the rule of {column}") if is_stricter else "",
        )
    ]


def _back_of_type(old: AnyField, new: AnyField, before: Before) -> str | None:
    """Return what going back does, if the type changes; the new one holds more."""
    if before.column_type(old) == before.column_type(new):
        return None
    return (
        "alters the column back; all rows are read or rewritten under ACCESS EXCLUSIVE, and a value "
        "that does not fit stops it"
    )


def _change_null(operation: Any, before: Before, old: AnyField, new: AnyField) -> list[Part]:
    """Return the parts for another nullability, after those for all else that changes."""
    middle = operations.AlterField(
        operation.model_name, operation.name, with_options(operation.field, null=old.null)
    )
    source = before.model_state(operation.model_name).fields[operation.name]
    is_alone = is_same_in_database(source, middle.field)
    parts = (
        [] if is_alone or not changes_the_database(middle, before) else alter_field(middle, before)
    )
    table, column = place_of(new)
    step = not_null(table, column)
    if new.null:
        step = replace(step, forwards=step.backwards, backwards=step.forwards)
        return [
            *parts,
            Part(
                (SeparateDatabaseAndState([step.operation], [operation]),),
                f"{table}.{column} may be null",
                f"requires a value of {table}.{column} again, and fails while a row has none",
                atomic=False,
                topic="null",
            ),
        ]
    return [*parts, _require_part(operation, before, new, step)]


def _require_part(operation: Any, before: Before, new: AnyField, step: SafeStep) -> Part:
    table, column = place_of(new)
    # The check comes first: what is filled afterwards cannot become null again.
    done: list[Operation] = [RunSQL(step.forwards[0], step.forwards[-1])]
    alter = f'ALTER TABLE "{table}" ALTER COLUMN "{column}"'
    says = f"A check refuses new rows without a value of {table}.{column}"
    value = _value_for_nulls(operation, before, new)
    if value is None:
        says += (
            ". The rows that are there must have one: the validation fails, and can be run again, "
            "while a row has none"
        )
    else:
        key = key_of(new, "Fill the rows by a step of your own, then take the default away.")
        done.append(
            RunBackfill(
                table=table, change=f'"{column}" = {value}', pending=f'"{column}" IS NULL', key=key
            )
        )
        says += "; rows without one are filled in ranges of keys"
        if not new.has_db_default():
            done.insert(0, RunSQL(f"{alter} SET DEFAULT {value}", f"{alter} DROP DEFAULT"))
            says += ", and its default stands in the database"
        step = not_null(table, column, default=value)
    done.append(SeparateDatabaseAndState([step.operation], [operation]))
    return Part(
        tuple(done),
        says + ". The check is validated and proves NOT NULL, so that no row is read for it",
        f"allows null in {table}.{column} again; values that were filled stay",
        breaks=f"code that still runs and writes null to {table}.{column} gets an error",
        atomic=False,
        topic="not_null",
    )


def _value_for_nulls(operation: Any, before: Before, new: AnyField) -> str | None:
    """Return the SQL of what rows get that have no value; None if the model says nothing of it."""
    if new.has_db_default():
        return default_sql(operation, before, new.db_default)
    if not new.has_default() or new.default is None:
        return None
    return default_sql(operation, before, _default_for_old_rows(new))


def _change_type(operation: Any, before: Before, old: AnyField, new: AnyField) -> list[Part]:
    after = before.after(operation)
    table, column = place_of(new)
    types = before.column_type(old), after.column_type(new)
    _refuse_type(operation, before, old, new, types)
    replaced = ReplaceColumn(
        table=table,
        column=column,
        new=_version(operation, before, operation.field, new, new_copy(column)),
        old=_version(
            operation,
            before,
            before.model_state(operation.model_name).fields[operation.name],
            old,
            old_copy(column),
            is_old=True,
        ),
        key=key_of(new, "Add a column of the new type yourself, and fill it."),
    )
    return [
        Part(
            (SeparateDatabaseAndState([replaced], [operation]),),
            f"{table}.{column} becomes {types[1]} from {types[0]}: a second column is added, kept "
            f"equal by a trigger and filled in ranges of keys, and takes the name of the first, "
            f"which is dropped, in one transaction",
            f"does the same with {types[0]}, and fails where a value does not fit",
            atomic=False,
            topic="type",
        )
    ]


def _refuse_type(
    operation: Any, before: Before, old: AnyField, new: AnyField, types: tuple[str, str]
) -> None:
    """Raise SchemaError if the type cannot be changed while code that knows the old one runs."""
    name = f"{operation.model_name}.{operation.name}"
    change = f"{name} changes its type from {types[0]} to {types[1]}"
    if old.primary_key or new.primary_key:
        raise SchemaError(
            f"{change}, and is the key. Nothing was written. A wider key is four migrations: see "
            f'docs/migrations.md, "A wider key", and begin them with `db revision --empty`.'
        )
    if types not in WIDENS:
        raise SchemaError(
            f"{change}: code that still runs cannot read or write that, or a value may not fit. "
            f"Nothing was written. Add a field of the new type under another name, fill it with "
            f"RunBackfill, let the code read it, and remove the old field a release later."
        )
    if old.null != new.null:
        raise SchemaError(
            f"{change}, and whether it may be null. Nothing was written. Change one at a time, each "
            f"with its `db revision`."
        )
    refuse_dependants(before, operation.model_name, operation.name, f"{change}")


def _version(
    operation: Any,
    before: Before,
    of: AnyField,
    bound: AnyField,
    copy: str,
    *,
    is_old: bool = False,
) -> ColumnVersion:
    """Return a version of a column as the copy of this name becomes it."""
    model, name = operation.model_name, operation.name
    under = before.after(operations.AlterField(model, name, with_options(of, db_column=copy)))
    final = before.after(operations.AlterField(model, name, of))
    named = steps_again if is_old else steps_of
    on_copy, as_named = steps_of(under, model, name), named(final, model, name)
    finish = [
        made.renamed(wanted.name)
        for made, wanted in zip(on_copy, as_named, strict=True)
        if made.kind != "not null" and made.name != wanted.name
    ]
    if of.has_db_default():
        text = default_sql(operations.AlterField(model, name, of), before, of.db_default)
        table = bound.model._meta.db_table
        finish.append(f'ALTER TABLE "{table}" ALTER COLUMN "{bound.column}" SET DEFAULT {text}')
    return ColumnVersion(
        type=before.column_type(final.field(model, name)),
        prepare=[statement for step in on_copy for statement in step.forwards],
        finish=finish,
    )
