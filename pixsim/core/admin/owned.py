"""Looking at the admin as one owner: every list has only that owner's rows."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from pixsim.core.admin.base import ModelAdmin


class OwnedAdmin(ModelAdmin):
    """A model admin whose rows belong to profiles: the model's rows know `of_owner`.

    `request.looks_as` is the profile whose rows alone are shown; without it, all are.
    """

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        owner = getattr(request, "looks_as", None)
        shown: QuerySet[Any] = rows if owner is None else rows.of_owner(owner)
        return shown

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {} if getattr(request, "looks_as", None) else super().get_actions(request)
