"""Small pieces of admin pages: badges, bars, ages. Colours are classes of pixsim/admin.css."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# State of a job, a chunk, an account or a submission → how it looks.
TONES = {
    "pending": "quiet",
    "processing": "busy",
    "running": "busy",
    "paused": "warn",
    "held": "warn",
    "completed": "good",
    "active": "good",
    "failed": "bad",
    "error": "bad",
    "cancelled": "off",
    "disabled": "off",
    "exhausted": "warn",
    "rate_limited": "warn",
    "accepted": "busy",
    "succeeded": "good",
    "filtered": "warn",
    "timed_out": "bad",
    "unknown": "warn",
}


def tone_of(state: str) -> str:
    return TONES.get(state, "quiet")


def badge(text: str, tone: str = "") -> SafeString:
    """A word in a coloured pill; without `tone` the colour is that of the state it names."""
    return format_html('<span class="px-badge px-{}">{}</span>', tone or tone_of(text), text)


def bar(parts: Sequence[tuple[str, float]], *, label: str) -> SafeString:
    """A bar filled with `parts`, (tone, share from 0 to 1) from the left, and what it says."""
    pieces, left = [], 0.0
    for tone, share in parts:
        width = max(0.0, min(share, 1.0 - left))
        pieces.append((tone, f"{left * 100:.2f}", f"{width * 100:.2f}"))
        left += width
    return format_html(
        '<svg class="px-bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><rect class="px-track" width="100" height="8"/>{}</svg>',
        label,
        format_html_join("", '<rect class="px-fill px-{}" x="{}" width="{}" height="8"/>', pieces),
    )


def short_time(length: timedelta) -> str:
    """About how long, in one unit or two: "8 s", "3 min", "5 h 20 min", "12 d"."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min"
    if hours < 48:
        return f"{hours} h"
    return f"{hours // 24} d"


def age(since: datetime | None) -> SafeString | str:
    """How long ago, with the exact time to hover over."""
    if since is None:
        return "-"
    return _timed(since, short_time(timezone.now() - since))


def until(moment: datetime | None) -> SafeString | str:
    """How long until a moment, or how long it is over; with the exact time to hover over."""
    if moment is None:
        return "-"
    ahead = moment - timezone.now()
    if ahead >= timedelta(0):
        return _timed(moment, f"in {short_time(ahead)}")
    return _timed(moment, f"over for {short_time(-ahead)}", "px-bad-text")


def shortened(text: str | None, length: int = 80) -> SafeString | str:
    """The beginning of a text, all of it to hover over."""
    if not text:
        return ""
    if len(text) <= length:
        return text
    return format_html('<span title="{}">{}…</span>', text[:2000], text[:length].rstrip())


def _timed(moment: datetime, words: str, css: str = "") -> SafeString:
    exact = f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
    return format_html('<span class="px-time {}" title="{}">{}</span>', css, exact, words)
