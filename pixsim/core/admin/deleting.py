"""Deleting rows whose dependents the database deletes itself."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from pixsim.core.admin.base import ModelAdmin


class DatabaseCascadeAdmin(ModelAdmin):
    """Deletes in one statement; Django's own way would first load every dependent row.

    For models whose foreign keys cascade in the database. `deleted_with` says in words what goes
    with a row.
    """

    deleted_with = "everything that belongs to it"
    locked_first: ClassVar[Sequence[str]] = ()
    """Statements that lock, in the order in which others do, what the cascade would lock in its own:
    each takes the keys as its one parameter. Else a deletion and a worker could wait for each other."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        allowed = self.has_delete_permission(request)
        names = [f"{obj}, with {self.deleted_with}" for obj in objs]
        counts = {str(self.opts.verbose_name_plural): len(names)}
        return names, counts, set() if allowed else {str(self.opts.verbose_name)}, []

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        self._delete([obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._delete(list(queryset.values_list("pk", flat=True)))

    def _delete(self, keys: list[Any]) -> None:
        table, key = self.opts.db_table, self.opts.pk.column
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in self.locked_first:
                cursor.execute(statement, [keys])
            cursor.execute(f'DELETE FROM "{table}" WHERE "{key}" = ANY(%s)', [keys])
