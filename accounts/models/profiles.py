"""A profile: a person, or another system's account, that owns work."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import uuid_key
from pixsim.core.db.indexes import NamedIndex


class TierName(models.TextChoices):
    FREE = "FREE", "FREE"
    PRO = "PRO", "PRO"
    ENTERPRISE = "ENTERPRISE", "ENTERPRISE"


class Role(models.TextChoices):
    USER = "user", "user"
    ADMIN = "admin", "admin"


class ProfileQuerySet(models.QuerySet["Profile"]):
    def by_tier(self, tier: str) -> Self:
        """Profiles of one tier; reads the index on `user_tier`."""
        return self.filter(user_tier=tier)


class Profile(models.Model):
    """Owns work, and has the tier that says how much.

    E-mail, name and role follow the log-in (`user`). Permissions are the log-in's alone: `role`
    is kept for readers of the older table and grants nothing. When the log-in is deleted the
    profile and its work stay.
    """

    id = uuid_key()
    email = models.CharField("e-mail", max_length=255)
    full_name = models.CharField(max_length=100, null=True, blank=True)
    avatar_url = models.TextField(null=True, blank=True)
    role = models.CharField(max_length=20, default=Role.USER, db_default=Role.USER.value)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())
    user_tier = models.CharField(
        "tier",
        max_length=20,
        choices=TierName,
        default=TierName.FREE,
        db_default=TierName.FREE.value,
    )
    # Ours from here on.
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_constraint=False,  # named, and acts in the database: a migration adds it
        related_name="profile",
        help_text="The log-in. Empty: nobody can log in as this profile.",
    )

    objects = ProfileQuerySet.as_manager()

    class Meta:
        db_table = "profiles"
        indexes = [
            # Users by tier: the admin's filter and the tier distribution.
            NamedIndex(fields=["user_tier"], name="ix_profiles_user_tier"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["email"], name="profiles_email_key"),
            *checks("profiles", user_tier_valid=Q(user_tier__in=TierName.values)),
        ]

    def __str__(self) -> str:
        return self.email
