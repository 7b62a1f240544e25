"""Use cases of accounts."""

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import activity
from accounts.models import NotificationPreferences, Profile, Role, TierName

# No mail is ever delivered there (RFC 2606), and nobody may bring an address of it.
FALLBACK_DOMAIN = "@users.invalid"


@transaction.atomic
def create_profile_for_user(*, user: User) -> Profile:
    """Return the user's profile; make it, and its notification preferences, if there are none.

    A user whose e-mail is empty or belongs to another profile gets `user<id>@users.invalid`:
    e-mails are unique, and giving an address does not prove that it is one's own.
    """
    profile = _profile_of(user)
    NotificationPreferences.objects.bulk_create(
        [NotificationPreferences(user=profile)], ignore_conflicts=True
    )
    return profile


def _profile_of(user: User) -> Profile:
    for email in _emails(user):
        if profile := Profile.objects.filter(user=user).first():
            return profile
        # On any conflict nothing is written: either another process made this user's profile just
        # now, or the e-mail is taken and the next one is tried. By `user_id`, since giving `user`
        # would leave the row that was not written behind as `user.profile`.
        Profile.objects.bulk_create(
            [Profile(user_id=user.pk, email=email, full_name=_full_name(user), role=_role(user))],
            ignore_conflicts=True,
        )
    return Profile.objects.get(user=user)


def keep_profile(*, user: User) -> Profile:
    """Return the user's profile, made if there is none, with the user's e-mail, name and role."""
    profile = create_profile_for_user(user=user)
    for email in _emails(user):
        wanted = {"email": email, "full_name": _full_name(user), "role": _role(user)}
        if all(getattr(profile, name) == value for name, value in wanted.items()):
            break
        try:
            with transaction.atomic():
                Profile.objects.filter(pk=profile.pk).update(**wanted, updated_at=timezone.now())
        except IntegrityError:  # another profile's e-mail
            continue
        for name, value in wanted.items():
            setattr(profile, name, value)
        break
    return profile


def change_tier(
    *, profile: Profile, tier: str, actor: Profile | None, request_id: str = ""
) -> bool:
    """Give `profile` another tier and log it; return False if it has that tier already.

    The queue applies the new window by itself. `actor` None is the system. Raise ValueError for a
    name that is no tier.
    """
    if tier not in TierName.values:
        raise ValueError(f"There is no tier {tier!r}; there are {', '.join(TierName.values)}.")
    with transaction.atomic():
        # Locked, so that of several changes at once each logs the tier that it replaced.
        old = Profile.objects.select_for_update(no_key=True).values_list("user_tier", flat=True)
        before = old.get(pk=profile.pk)
        profile.user_tier = tier
        if before == tier:
            return False
        Profile.objects.filter(pk=profile.pk).update(user_tier=tier, updated_at=timezone.now())
        changes = {"before": before, "after": tier, "request_id": request_id}
        activity.record_change("profile", profile.pk, "tier_changed", actor=actor, **changes)
    return True


def _emails(user: User) -> list[str]:
    own = [user.email] if user.email and not user.email.endswith(FALLBACK_DOMAIN) else []
    return [*own, f"user{user.pk}{FALLBACK_DOMAIN}"]


def _full_name(user: User) -> str | None:
    return user.get_full_name()[:100] or None


def _role(user: User) -> Role:
    return Role.ADMIN if user.is_superuser else Role.USER
