"""The safe form of the operations that Django's autodetector finds, for a table with people on it.

An operation becomes one or more parts: what is done now, in a transaction or outside one, and what is
done a release later, when no code that runs asks for the old names any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django_pg_migration_tools.operations import (
    SaferAddCheckConstraint,
    SaferAddIndexConcurrently,
    SaferRemoveCheckConstraint,
    SaferRemoveIndexConcurrently,
    SaferRemoveUniqueConstraint,
)

from pixsim.schema.safe_columns import add_field, alter_field
from pixsim.schema.safe_parts import (
    Before,
    Part,
    as_it_is,
    changes_the_database,
    forbids,
    in_safe_steps,
)
from pixsim.schema.safe_removals import remove_field, rename_field, rename_table, retire_tables


def safe_parts(operation: Operation, before: Before) -> list[Part]:
    """Return the safe form of an operation.

    Raise SchemaError, with what to do instead, if there is none.
    """
    recipe = RECIPES.get(type(operation))
    model = str(getattr(operation, "model_name", getattr(operation, "name", "")))
    if recipe is None or (before.app, model.lower()) in before.new_models:
        return [as_it_is(operation)]
    if not changes_the_database(operation, before):
        return [as_it_is(operation, atomic=None)]
    return recipe(operation, before)


def _add_index(operation: Any, before: Before) -> list[Part]:
    return [
        Part(
            (SaferAddIndexConcurrently(operation.model_name, operation.index),),
            f"The index {operation.index.name} is built while others read and write",
            f"drops the index {operation.index.name}",
            atomic=False,
            topic="indexes",
        )
    ]


def _remove_index(operation: Any, before: Before) -> list[Part]:
    return [
        Part(
            (SaferRemoveIndexConcurrently(operation.model_name, operation.name),),
            f"The index {operation.name} is dropped while others read and write",
            f"builds the index {operation.name} again",
            atomic=False,
            topic="indexes",
        )
    ]


def _add_constraint(operation: Any, before: Before) -> list[Part]:
    constraint = operation.constraint
    table = before.model(operation.model_name)._meta.db_table
    safe: Operation | None = None
    says = f"The constraint {constraint.name} holds for new rows at once and is then validated"
    if isinstance(constraint, models.CheckConstraint):
        safe = SaferAddCheckConstraint(operation.model_name, constraint)
    elif isinstance(constraint, models.UniqueConstraint):
        says = f"The unique index of {constraint.name} is built while others read and write"
        # SaferAddUniqueConstraint cannot be repeated when a run was killed behind its last step.
        safe = in_safe_steps(operation, before)
    if safe is None:
        return [as_it_is(operation)]
    return [
        Part(
            (safe,),
            says,
            f"drops the constraint {constraint.name}",
            breaks=forbids(table, constraint.name),
            atomic=False,
            topic="constraints",
        )
    ]


def _remove_constraint(operation: Any, before: Before) -> list[Part]:
    constraint = before.model_state(operation.model_name).get_constraint_by_name(operation.name)
    safe: Operation
    if isinstance(constraint, models.CheckConstraint):
        safe = SaferRemoveCheckConstraint(operation.model_name, operation.name)
    elif isinstance(constraint, models.UniqueConstraint):
        safe = SaferRemoveUniqueConstraint(operation.model_name, operation.name)
    else:
        return [as_it_is(operation)]
    return [
        Part(
            (safe,),
            f"The constraint {operation.name} is dropped",
            f"adds the constraint {operation.name} again, without blocking",
            atomic=False,
            topic="constraints",
        )
    ]


def _alter_together(operation: Any, before: Before) -> list[Part]:
    safe = in_safe_steps(operation, before)
    if safe is None:
        return [as_it_is(operation)]
    table = before.model(operation.name)._meta.db_table
    return [
        Part(
            (safe,),
            f"{operation.describe()}, whose index is built while others read and write",
            "drops the constraint",
            breaks=forbids(table, operation.describe()),
            atomic=False,
            topic="constraints",
        )
    ]


RECIPES: dict[type[Operation], Callable[[Any, Before], list[Part]]] = {
    operations.AddIndex: _add_index,
    operations.RemoveIndex: _remove_index,
    operations.AddConstraint: _add_constraint,
    operations.RemoveConstraint: _remove_constraint,
    operations.AlterUniqueTogether: _alter_together,
    operations.AddField: add_field,
    operations.AlterField: alter_field,
    operations.RenameField: rename_field,
    operations.RenameModel: rename_table,
    operations.AlterModelTable: rename_table,
    operations.RemoveField: remove_field,
    operations.DeleteModel: retire_tables,
}
