"""Columns and filters of lists, as one line of data each."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest


def column(title: str, show: Callable[[Any], object], *, ordering: str | None = None) -> Any:
    """Return a column of a list, or a read-only field of a form, that shows `show(row)`."""

    @admin.display(description=title, ordering=ordering)
    def cell(model_admin: Any, row: Any) -> object:
        return show(row)

    return cell


class ConditionFilter(admin.SimpleListFilter):
    """A filter of which each choice is a condition: `conditions` has its title and its condition."""

    conditions: ClassVar[Mapping[str, tuple[str, Q]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, title) for value, (title, _condition) in self.conditions.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.conditions.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset
