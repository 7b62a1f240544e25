"""Check constraints under the names of our tables."""

from django.db import models


def checks(table: str, **conditions: models.Q) -> list[models.CheckConstraint]:
    """Return a check constraint `ck_<table>_<name>` for each named condition."""
    return [
        models.CheckConstraint(name=f"ck_{table}_{name}", condition=condition)
        for name, condition in conditions.items()
    ]
