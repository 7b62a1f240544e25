"""Encrypting what is stored anew, under the first of `settings.CREDENTIALS_KEYS`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction
from django.views.decorators.debug import sensitive_variables

from pixsim.core.crypto import cipher
from pixsim.core.crypto.cipher import CredentialsUnreadable
from pixsim.core.crypto.fields import EncryptedTextField

BATCH = 500

# Unless somebody has stored another secret meanwhile.
REPLACE = "UPDATE {table} SET {column} = %s WHERE {key} = %s AND {column} = %s"


@dataclass
class Rotation:
    """Secrets by what became of them. `unreadable` names the places of those that no key opens."""

    rotated: int = 0
    current: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate(*, dry_run: bool = False) -> Rotation:
    """Encrypt every stored secret under the first key that is not so yet.

    Each batch of rows is a transaction; what was done is skipped when it is run again. What cannot
    be read is left as it is and named.
    """
    rotation = Rotation()
    for model in filter(_secret_fields, apps.get_models()):
        for rows in _batches(model):
            with transaction.atomic():
                for row in rows:
                    _rotate_row(model, row, rotation, dry_run=dry_run)
    return rotation


@sensitive_variables()
def _rotate_row(
    model: type[models.Model], row: tuple[Any, ...], rotation: Rotation, *, dry_run: bool
) -> None:
    key, *secrets = row
    for each, secret in zip(_secret_fields(model), secrets, strict=True):
        if secret is None:
            continue
        if cipher.is_current(secret.token):
            rotation.current += 1
            continue
        table = model._meta.db_table
        try:
            token = cipher.rotated(secret.token, place=f"{table}.{each.column}")
        except CredentialsUnreadable:
            rotation.unreadable.append(f"{table} {key}: {each.column}")
            continue
        rotation.rotated += 1 if dry_run else _replace(model, each, key, secret.token, token)


@sensitive_variables()
def _replace(
    model: type[models.Model], each: EncryptedTextField, key: Any, old: str, new: str
) -> int:
    quoted = connection.ops.quote_name
    names = {
        "table": quoted(model._meta.db_table),
        "column": quoted(str(each.column)),
        "key": quoted(str(model._meta.pk.column)),
    }
    with connection.cursor() as cursor:
        cursor.execute(REPLACE.format(**names), [new, key, old])
        return int(cursor.rowcount)


def _batches(model: type[models.Model]) -> Iterator[list[tuple[Any, ...]]]:
    """Primary key and secrets of all rows, in order."""
    columns = [each.name for each in _secret_fields(model)]
    rows = model._base_manager.order_by("pk").values_list("pk", *columns)
    batch = list(rows[:BATCH])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1][0])[:BATCH])


def _secret_fields(model: type[models.Model]) -> list[EncryptedTextField]:
    return [each for each in model._meta.concrete_fields if isinstance(each, EncryptedTextField)]
