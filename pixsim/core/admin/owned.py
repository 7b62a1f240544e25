"""Looking at the admin as one owner: every list has only that owner's rows."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest

from pixsim.core.admin.base import ModelAdmin


class OwnedAdmin(ModelAdmin):
    """A model admin whose rows belong to profiles.

    `request.looks_as` is the profile whose rows alone are shown; without it, all are.
    """

    owner_path: ClassVar[str]
    """The lookup that leads from a row to its profile."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        owner = getattr(request, "looks_as", None)
        return rows if owner is None else rows.filter((self.owner_path, owner.pk))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {} if getattr(request, "looks_as", None) else super().get_actions(request)
