"""Data steps of migrations that say in SQL what they do, so that it can be written without a
database (`manage.py db sql`)."""

from collections.abc import Callable
from typing import Any, TypeVar

Step = TypeVar("Step", bound=Callable[..., Any])


def in_sql(*statements: str) -> Callable[[Step], Step]:
    """Declare the SQL of a function that RunPython takes: what it does to the rows of any database,
    statement by statement, each with its own semicolon; none if it only looks.

    In a migration without a transaction a statement may be a DO block that commits.
    """

    def declare(step: Step) -> Step:
        vars(step)["sql"] = statements
        return step

    return declare


def refusal(condition: str, message: str) -> str:
    """A statement that fails with `message` where the SQL condition holds."""
    text = message.replace("'", "''").replace("%", "%%")
    return (
        f"DO $refusal$\nBEGIN\n    IF {condition} THEN\n        RAISE EXCEPTION '{text}';\n"
        f"    END IF;\nEND $refusal$;"
    )
