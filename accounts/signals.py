"""The one signal of this project: a user, made in whatever way, has a profile."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts.services import keep_profile


@receiver(post_save, sender=settings.AUTH_USER_MODEL, dispatch_uid="accounts.keep_profile")
def user_saved(instance: User, raw: bool, **kwargs: Any) -> None:
    # A fixture may carry the profile itself; without one, the first log-in makes it.
    if not raw:
        keep_profile(user=instance)
