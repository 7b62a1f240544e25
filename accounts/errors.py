"""Errors of accounts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta


class AccountsError(Exception):
    """Base of this app's errors."""

    @property
    def subject(self) -> str:
        """What to correct: a limit or a feature of the tier, else "owner"."""
        return "owner"


@dataclass(eq=False)
class LimitExceeded(AccountsError):
    """A limit of the tier does not allow the request."""

    limit: str
    """The field of the tier."""
    tier: str
    allowed: int
    use: int
    """What counts against the limit already."""
    wanted: int
    """What was asked for in addition."""
    resets_at: datetime | None = None
    """When `use` returns to zero; None: only when something ends or is removed."""

    @property
    def subject(self) -> str:
        return self.limit

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the refusal as plain values, for the answer of an API."""
        return {
            **asdict(self),
            "resets_at": self.resets_at.isoformat() if self.resets_at else None,
            "message": str(self),
            "next": self._next_step(),
        }

    def __str__(self) -> str:
        return (
            f"{self.limit}: tier {self.tier} allows {self.allowed}, {self.use} in use, "
            f"{self.wanted} more asked for. {self._next_step()}"
        )

    def _next_step(self) -> str:
        if self.wanted > self.allowed:
            return f"Ask for at most {self.allowed}, or for a higher tier."
        if self.resets_at:
            return f"Wait until {self.resets_at:%Y-%m-%d %H:%M %Z}, or ask for a higher tier."
        return "Finish or remove something first, or ask for a higher tier."


class FeatureRefused(AccountsError):
    """The tier does not have the feature that the request needs."""

    def __init__(self, feature: str, *, tier: str, had_by: Sequence[str]) -> None:
        self.feature = feature
        self.tier = tier
        self.had_by = tuple(had_by)
        """The tiers that have the feature."""
        others = (
            f"Ask for a tier that has it: {', '.join(had_by)}." if had_by else "No tier has it."
        )
        super().__init__(f"{feature}: tier {tier} does not have this feature. {others}")

    @property
    def subject(self) -> str:
        return self.feature


class InsufficientCredits(AccountsError):
    """The balance is smaller than what was asked for; nothing was taken."""

    def __init__(self, *, wanted: int, available: int) -> None:
        self.wanted = wanted
        self.available = available
        super().__init__(
            f"credits: {wanted} are needed and {available} are there. Nothing was taken; add "
            "credits, or ask for less."
        )


class MonthlyLimitReached(AccountsError):
    """The work would hold more credits than the account may use in a month; nothing was taken."""

    def __init__(self, *, limit: int, used: int, wanted: int) -> None:
        self.limit = limit
        self.used = used
        """What was used and is held this month."""
        self.wanted = wanted
        month = datetime.now(UTC).replace(day=1)
        self.resets_at = (month + timedelta(days=31)).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        super().__init__(
            f"credits: {wanted} are needed, and {used} of the monthly limit of {limit} are used or "
            f"held. Nothing was taken; ask for less, for a higher limit, or wait until "
            f"{self.resets_at:%Y-%m-%d} UTC."
        )
