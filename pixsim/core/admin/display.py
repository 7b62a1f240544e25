"""Small parts of admin pages: badges, bars, ages. Colours are classes of pixsim/admin.css."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pixsim.core.formats import format_duration

# State of a job, a chunk, an account or a submission → colour.
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
    """Return a word on a coloured ground; without `tone`, the colour of the state that it names."""
    return format_html('<span class="px-badge px-{}">{}</span>', tone or tone_of(text), text)


def bar(parts: Sequence[tuple[str, float]], *, label: str) -> SafeString:
    """Return a bar filled from the left with `parts`: (tone, share from 0 to 1)."""
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


def age(since: datetime | None) -> SafeString | str:
    """Return how long ago `since` is; the exact time is shown when hovered."""
    return "-" if since is None else _timed(since, _whole(timezone.now() - since))


def until(moment: datetime | None) -> SafeString | str:
    """Return how long it is until `moment` or since then; the exact time is shown when hovered."""
    if moment is None:
        return "-"
    ahead = moment - timezone.now()
    if ahead >= timedelta(0):
        return _timed(moment, f"in {_whole(ahead)}")
    return _timed(moment, f"over for {_whole(-ahead)}", "px-bad-text")


def shortened(text: str | None, length: int = 80) -> SafeString | str:
    """Return the beginning of a text; the whole text is shown when hovered."""
    if not text:
        return ""
    if len(text) <= length:
        return text
    return format_html('<span title="{}">{}…</span>', text[:2000], text[:length].rstrip())


def _whole(length: timedelta) -> str:
    return format_duration(int(length.total_seconds()))


def _timed(moment: datetime, words: str, css: str = "") -> SafeString:
    exact = f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
    return format_html('<span class="px-time {}" title="{}">{}</span>', css, exact, words)
