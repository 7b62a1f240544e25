"""Statements that make tables from a catalogue: first bare columns, then all constraints."""

from collections.abc import Iterable, Iterator

from pixsim.schema.catalog import Column, Constraint, Table, quoted


def bare(table: Table, extra: Iterable[Column] = ()) -> str:
    """Return CREATE TABLE without anything that a row could break; `extra` columns come last."""
    columns = [_column(each) for each in table.columns.values()] + [
        f"{quoted(each.name)} {each.type}{_default(each)}" for each in extra
    ]
    settings = ", ".join(f"{name} = {value}" for name, value in table.options.items())
    options = f" WITH ({settings})" if settings else ""
    return f"CREATE TABLE {quoted(table.name)} ({', '.join(columns)}){options}"


def whole(table: Table) -> Iterator[str]:
    """Yield all constraints but foreign keys, in one pass, then the indexes."""
    parts = [
        f"ALTER COLUMN {quoted(each.name)} SET NOT NULL"
        for each in table.columns.values()
        if not each.nullable and not each.counter
    ]
    own = [each for each in table.constraints.values() if each.kind != "foreign key"]
    parts += [_constraint(each) for each in own]
    if parts:
        yield f"ALTER TABLE {quoted(table.name)} {', '.join(parts)}"
    for index in table.indexes.values():
        unique = "UNIQUE " if index.unique else ""
        name = quoted(index.name)
        yield f"CREATE {unique}INDEX {name} ON {quoted(table.name)} {index.definition}"


def references(table: Table) -> Iterator[str]:
    """Yield the foreign keys; all tables must be whole by then."""
    parts = [_constraint(each) for each in table.constraints.values() if each.kind == "foreign key"]
    if parts:
        yield f"ALTER TABLE {quoted(table.name)} {', '.join(parts)}"


def _column(column: Column) -> str:
    collation = f" COLLATE {quoted(column.collation)}" if column.collation else ""
    start = f"{quoted(column.name)} {column.type}{collation}"
    if column.counter:
        how = "ALWAYS" if column.counter == "always" else "BY DEFAULT"
        return f"{start} GENERATED {how} AS IDENTITY"
    if column.generated is not None:
        return f"{start} GENERATED ALWAYS AS ({column.generated}) STORED"
    return start + _default(column)


def _default(column: Column) -> str:
    return f" DEFAULT {column.default}" if column.default is not None else ""


def _constraint(each: Constraint) -> str:
    late = "" if each.validated else " NOT VALID"
    return f"ADD CONSTRAINT {quoted(each.name)} {each.definition}{late}"
