"""Finding the people that commands name."""

from accounts.models import Profile
from pixsim.core.cli import UsageError
from pixsim.core.text import unfit


def find_owner(email: str | None) -> Profile | None:
    """Return the profile that --owner names; None without the flag, for the system's own work."""
    return None if email is None else find_profile(email, field="owner")


def find_profile(email: str, *, field: str) -> Profile:
    """Return the profile with this e-mail. Raise UsageError, naming `field`, if there is none."""
    known = Profile.objects.filter(email=email)
    if not unfit(email, len(email)) and (profile := known.first()):
        return profile
    raise UsageError(f"{field}: nobody has the e-mail {email!r} here; people are in the admin")
