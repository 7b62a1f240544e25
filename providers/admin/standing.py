"""An account's standing as small pieces of a page."""

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pixsim.core.admin.display import badge, bar, tone_of
from pixsim.core.formats import format_duration
from providers.models import AccountStatus, ProviderAccount
from providers.slots import Standing

GOOD_HEALTH, POOR_HEALTH = 0.8, 0.5


def is_cooling(account: ProviderAccount) -> bool:
    """Return whether the account has a cooldown that has not ended."""
    return account.cooldown_until is not None and account.cooldown_until > timezone.now()


def state_of(account: ProviderAccount) -> SafeString:
    """Return a badge of the status; an active account in a cooldown is shown as cooling."""
    if account.status == AccountStatus.ACTIVE and is_cooling(account):
        return badge("cooling", "warn")
    return badge(account.get_status_display(), tone_of(account.status))


def slot_bar(used: int, limit: int) -> SafeString:
    """Return `used` of `limit` as a bar, in red over the limit."""
    tone = "bad" if used > limit else "warn" if limit and used == limit else "busy"
    words = f"{used:,} / {limit:,}"
    return format_html(
        '<span class="px-slots">{}<span class="px-nowrap">{}</span></span>',
        bar([(tone, used / limit if limit > 0 else 0.0)], label=words),
        words,
    )


def health_bar(account: ProviderAccount, standing: Standing) -> SafeString | str:
    """Return the share of the latest submissions that did not fail, as a bar."""
    if standing.health is None:
        return "-"
    tone = _health_tone(standing.health)
    words = f"{standing.health:.0%}"
    streak = f", {account.failure_streak} failures in a row" if account.failure_streak else ""
    return format_html(
        '<span class="px-slots" title="{}">{}<span>{}</span></span>',
        f"{words} of its latest submissions went well{streak}",
        bar([(tone, standing.health)], label=f"health {words}"),
        words,
    )


def cooldown_of(account: ProviderAccount) -> SafeString | str:
    if not is_cooling(account) or account.cooldown_until is None:
        return "-"
    left = account.cooldown_until - timezone.now()
    return format_html(
        '<span class="px-nowrap">{} left</span>', format_duration(int(left.total_seconds()))
    )


def credits_of(standing: Standing) -> SafeString | str:
    """Return the credits by type, the smallest first; no credits are shown in red."""
    return format_html_join(
        ", ",
        '<span class="px-nowrap {}">{} {}</span>',
        (
            ("px-bad-text" if amount <= 0 else "", f"{amount:,}", kind)
            for kind, amount in sorted(standing.credits.items(), key=lambda pair: pair[1])
        ),
    )


def _health_tone(health: float) -> str:
    return "good" if health >= GOOD_HEALTH else "warn" if health >= POOR_HEALTH else "bad"
