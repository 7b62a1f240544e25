"""Model fields whose database objects have names of our own."""

import uuid
from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.db import models


class NamedForeignKey(models.ForeignKey[Any, Any]):
    """A foreign key whose constraint and index a migration adds by name (`AddForeignKey`).

    Django would name both by a hash, and make the constraint deferrable and without ON DELETE.
    Migrations see an ordinary ForeignKey.
    """

    def __init__(self, to: Any, on_delete: Any, **kwargs: Any) -> None:
        super().__init__(to, on_delete, **{"db_constraint": False, "db_index": False, **kwargs})

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, kwargs


def uuid_key() -> "models.UUIDField[uuid.UUID, uuid.UUID]":
    """Return a primary key that Python fills, or the database for rows inserted by SQL."""
    return models.UUIDField(
        primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False
    )
