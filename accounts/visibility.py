"""Whose rows a user may see and work on: their own, other people's, and the system's.

Django's permissions say which tables and which actions. These two say whose rows; who has neither
has their own rows only. Superusers have both.
"""

from typing import Any, ClassVar, Self, TypeVar

from django.db import models
from django.db.models import Q

SYSTEM_WORK = "accounts.system_work"
OTHERS_WORK = "accounts.others_work"
PERMISSIONS = (
    ("system_work", "Can see and do the system's work, without limits"),
    ("others_work", "Can see and do the work of other people"),
)
SYSTEM_USERNAME = "system"
"""The user of the system's own generations. Nobody can log in as this user."""

Row = TypeVar("Row", bound=models.Model, covariant=True)


def sees_all(user: Any) -> bool:
    """Return whether the user may see everybody's rows."""
    return bool(user.has_perms([SYSTEM_WORK, OTHERS_WORK]))


class OwnedQuerySet(models.QuerySet[Row]):
    """Rows that belong to a profile, or, without one, to the system."""

    owner_path: ClassVar[str] = "owner"
    """The lookup that leads from a row to its profile."""

    def of_owner(self, profile: Any) -> Self:
        """Return the rows of this profile."""
        return self.filter((self.owner_path, profile.pk))

    def of_user(self, user: Any) -> Self:
        """Return the rows of this user."""
        return self.filter(self._is_own(user))

    def visible_to(self, user: Any) -> Self:
        """Return the rows that the user may see, if they may see the table at all."""
        if sees_all(user):
            return self.all()
        seen = ~self._is_systems() if user.has_perm(OTHERS_WORK) else self._is_own(user)
        if user.has_perm(SYSTEM_WORK):
            seen |= self._is_systems()
        return self.filter(seen)

    def _is_own(self, user: Any) -> Q:
        profile = getattr(user, "profile", None)
        return Q((self.owner_path, profile.pk)) if profile else Q(pk__in=[])

    def _is_systems(self) -> Q:
        return Q((f"{self.owner_path}__isnull", True))


class UserOwned:
    """Of an OwnedQuerySet: its rows belong to a log-in; those of SYSTEM_USERNAME are the system's."""

    owner_path: ClassVar[str] = "user"

    def of_owner(self: Any, profile: Any) -> Any:
        """Return the rows of this profile's log-in."""
        return self.filter((f"{self.owner_path}__profile", profile.pk))

    def _is_own(self, user: Any) -> Q:
        return Q((self.owner_path, user.pk))

    def _is_systems(self) -> Q:
        return Q((f"{self.owner_path}__username", SYSTEM_USERNAME))
