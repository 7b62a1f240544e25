"""The parts of a revision, the models before an operation, and what a field's column needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import SeparateDatabaseAndState, operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import NOT_PROVIDED, Field, Model

from pixsim.schema.errors import SchemaError
from pixsim.schema.safe_statements import SafeStep, safe_steps
from pixsim.schema.sql_collector import CollectingConnection, NeedsDatabase, statements
from pixsim.schema.sql_text import split
from pixsim.schema.unsafe import keeps_values

ModelKey = tuple[str, str]
AnyField: TypeAlias = "Field[Any, Any]"
WITHOUT_CHECK: dict[type[AnyField], type[AnyField]] = {
    models.PositiveSmallIntegerField: models.SmallIntegerField,
    models.PositiveIntegerField: models.IntegerField,
    models.PositiveBigIntegerField: models.BigIntegerField,
}
BACK = {
    "CreateModel": "drops the table, and what is in it",
    "AddField": "drops the column, and what is in it",
    "AlterField": "alters the column back",
}


@dataclass(frozen=True)
class Part:
    """Operations that belong into one migration, and what its docstring says of them."""

    operations: tuple[Operation, ...]
    says: str
    """One sentence, without its full stop."""
    back: str
    """What going back does, as a verb in the third person."""
    breaks: str = ""
    """Of which running code it makes an error, with the table's name."""
    atomic: bool | None = True
    """Whether it needs a transaction, or none; None: as it comes."""
    is_later: bool = False
    """Whether it waits for the release after."""
    keeps: tuple[str, ...] = ()
    """The columns or tables that it drops, which stay until then."""
    topic: str = ""
    """What the file's name says, if it is not the first of its revision."""


@dataclass
class Before:
    """The models before an operation, and which of them the revision makes itself."""

    app: str
    state: ProjectState
    connection: BaseDatabaseWrapper
    new_models: set[ModelKey] = field(default_factory=set)
    dropped: list[tuple[ModelKey, Any]] = field(default_factory=list)
    """The indexes and constraints that the revision has dropped so far, with their models."""

    def after(self, *done: Operation) -> Before:
        """Return the same after operations."""
        state = self.state.clone()
        for operation in done:
            operation.state_forwards(self.app, state)
        return replace(self, state=state)

    def statements(self, operation: Operation, *, backwards: bool = False) -> list[str]:
        """Return what Django would say. Raise NeedsDatabase if it has to ask the database."""
        old, new = self.state.clone(), self.after(operation).state
        if backwards:
            old, new = new, old
        return split(
            statements(operation, self.app, self.connection, old, new, backwards=backwards)
        )

    def model(self, name: str) -> type[Model]:
        return self.state.apps.get_model(self.app, name)

    def model_state(self, name: str) -> ModelState:
        found: ModelState = self.state.models[self.app, name.lower()]
        return found

    def field(self, model: str, name: str) -> AnyField:
        return self.model(model)._meta.get_field(name)  # type: ignore[return-value]

    def column_type(self, of: AnyField) -> str:
        """Return the type of a field's column, with its collation."""
        found = of.db_parameters(connection=CollectingConnection(self.connection))
        collation = found.get("collation")
        return f"{found['type']}" + (f' COLLATE "{collation}"' if collation else "")


def as_it_is(
    operation: Operation,
    *,
    atomic: bool | None = True,
    back: str | None = None,
    says: Operation | None = None,
) -> Part:
    """Return an operation that has no other safe form. `says` is the one that it holds."""
    said = says or operation
    back = back or BACK.get(type(said).__name__, "undoes it")
    return Part((operation,), said.describe(), back, atomic=atomic)


def changes_the_database(operation: Operation, before: Before) -> bool:
    """Return whether Django would say anything to the database, or has to ask it."""
    try:
        return bool(before.statements(operation))
    except NeedsDatabase:
        return True


def place_of(of: AnyField) -> tuple[str, str]:
    """Return the table and the column of a field."""
    return of.model._meta.db_table, str(of.column)


def with_options(of: AnyField, **changed: Any) -> AnyField:
    """Return a field with other options."""
    _name, _path, args, kwargs = of.deconstruct()
    return type(of)(*args, **{**kwargs, **changed})


def bare_field(of: AnyField, *, null: bool) -> AnyField:
    """Return a field whose column has no index, constraint, check or default."""
    _name, _path, args, kwargs = of.deconstruct()
    kwargs = {
        key: value
        for key, value in kwargs.items()
        if key not in ("unique", "db_index", "default", "db_default")
    }
    kind: type[Any] = WITHOUT_CHECK.get(type(of), type(of))
    if isinstance(of, models.OneToOneField):
        kind = models.ForeignKey
    if isinstance(of, models.ForeignKey):
        kwargs |= {"db_constraint": False, "db_index": False}
    elif isinstance(of, models.SlugField):
        kwargs["db_index"] = False
    if null:
        kwargs["null"] = True
    bare: AnyField = kind(*args, **kwargs)
    return bare


def is_same(one: AnyField, other: AnyField) -> bool:
    return type(one) is type(other) and one.deconstruct()[1:] == other.deconstruct()[1:]


def is_same_in_database(one: AnyField, other: AnyField) -> bool:
    """Return whether two fields have the same column. Django makes a foreign key anew for another
    default in Python."""

    def column(of: AnyField) -> tuple[Any, ...]:
        _name, path, args, kwargs = of.deconstruct()
        ignored = {*of.non_db_attrs, "default"}
        return path, args, {key: value for key, value in kwargs.items() if key not in ignored}

    return column(one) == column(other)


def steps_of(after: Before, model: str, name: str) -> list[SafeStep]:
    """Return the safe steps that make a bare column what its field says, but for its default.

    Raise SchemaError if Django would say something that has no safe form.
    """
    full = after.model_state(model).fields[name]
    kwargs = dict.fromkeys(("default", "db_default"), NOT_PROVIDED) | {"blank": False}
    plain = with_options(full, **kwargs)
    bare = operations.AlterField(model, name, bare_field(full, null=True))
    steps = safe_steps(after.after(bare).statements(operations.AlterField(model, name, plain)))
    if steps is None:
        raise SchemaError(
            f"{model}.{name} has something for which no safe statement is known. Nothing was "
            f"written. Write it yourself: `db revision --empty`."
        )
    return steps


def operations_of(steps: Iterable[SafeStep]) -> list[Operation]:
    return [each.operation for each in steps]


def steps_again(before: Before, model: str, name: str) -> list[SafeStep]:
    """Return the steps that make the column again as it was, with the names that PostgreSQL gave the
    constraints of a column that was made with them."""
    table, column = place_of(before.field(model, name))
    suffixes = {"unique": "key", "check": "check"}
    return [
        step.called(f"{table}_{column}_{suffixes[step.kind]}") if step.kind in suffixes else step
        for step in steps_of(before, model, name)
    ]


def default_sql(operation: Any, before: Before, value: Any) -> str:
    """Return the text of a default, by what Django says when a column gets it."""
    model, name = operation.model_name, operation.name
    none = bare_field(operation.field, null=True)
    is_new = name not in before.model_state(model).fields
    add = operations.AddField if is_new else operations.AlterField
    without = before.after(add(model, name, none))
    said = without.statements(
        operations.AlterField(model, name, with_options(none, db_default=value))
    )
    return said[0].partition(" SET DEFAULT ")[2].rstrip(";")


def keeps_type(old: AnyField, new: AnyField, before: Before) -> bool:
    """Return whether the values stay as they are stored."""
    types = before.column_type(old), before.column_type(new)
    return types[0] == types[1] or keeps_values(*types)


def is_parent_link(of: Any) -> bool:
    return bool(of.remote_field and getattr(of.remote_field, "parent_link", False))


def is_referred_to(of: AnyField) -> bool:
    """Return whether a foreign key points at this field."""
    return any(
        getattr(relation.field, "target_field", None) == of
        for relation in of.model._meta.related_objects
        if not relation.many_to_many
    )


def key_of(of: AnyField, instead: str) -> str:
    """Return the key by whose ranges rows are filled. Raise SchemaError if it is no integer."""
    key = of.model._meta.pk
    if not isinstance(key, models.IntegerField | models.AutoField):
        kind = type(key).__name__
        raise SchemaError(
            f"The rows of {of.model._meta.db_table} cannot be filled in ranges of keys: its key is a "
            f"{kind}. Nothing was written. {instead}"
        )
    return str(key.column)


def refuse_dependants(
    before: Before, model: str, name: str, change: str, *, keep: str = ""
) -> None:
    """Raise SchemaError if an index or a constraint of several fields names this one."""
    options = before.model_state(model).options
    dropped = [each for key, each in before.dropped if key == (before.app, model.lower())]
    used = [
        each.name
        for each in (*options.get("indexes", ()), *options.get("constraints", ()), *dropped)
        if _names(each, name)
    ]
    used += [str(each) for each in options.get("unique_together", ()) if name in each]
    if used:
        raise SchemaError(
            f"{change}, and {', '.join(used)} of Meta needs it. Nothing was written. "
            + (
                keep
                or "Remove that with one `db revision`, change the type, and add it again with a "
                "third."
            )
        )


def _names(named: Any, field_name: str) -> bool:
    """Return whether an index or constraint names a field, in its fields, condition or
    expressions."""
    text = repr(named.deconstruct()[1:])
    return f"'{field_name}'" in text or f"'{field_name}__" in text or f"({field_name})" in text


def forbids(table: str, what: str) -> str:
    return f"code that still runs and writes rows to {table} that break {what} gets an error"


def steps_if_safe(operation: Operation, before: Before) -> list[SafeStep] | None:
    """Return the safe form of an operation's statements, if each of them has one."""
    try:
        return safe_steps(before.statements(operation))
    except NeedsDatabase:
        return None


def in_safe_steps(operation: Operation, before: Before) -> SeparateDatabaseAndState | None:
    """Return the operation with the safe form of its statements, if each of them has one."""
    steps = steps_if_safe(operation, before)
    return SeparateDatabaseAndState(operations_of(steps), [operation]) if steps else None
