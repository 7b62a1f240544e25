"""Index classes that allow the names our schema contract has."""

from django.db import models


class NamedIndex(models.Index):
    """An index whose name may be as long as PostgreSQL allows (63 bytes).

    Django refuses names over 30 characters (models.E034) for the sake of other databases; the
    names of the older systems, which are a contract, are longer.
    """

    max_name_length = 63


def column_indexes(table: str, fields: str, *, keys: str = "") -> list[models.Index]:
    """Return an index `ix_<table>_<column>` of each field, and of each foreign key in `keys`.

    Names are separated by blanks.
    """
    columns = {name: name for name in fields.split()} | {key: f"{key}_id" for key in keys.split()}
    return [
        NamedIndex(fields=[name], name=f"ix_{table}_{column}") for name, column in columns.items()
    ]
