"""What the dates of a model mean today: whether it is offered, and what is coming."""

from datetime import UTC, date, datetime

from pixsim.core.patterns import pattern
from providers.adapters import base_url_of
from providers.adapters.base import Adapter
from providers.adapters.models import Dates

match_snapshot = pattern(r"-(\d{4}-\d{2}-\d{2}|\d{4,8})", longest=20, method="fullmatch")


def dates_of(adapter: Adapter, model: str) -> Dates:
    """Return the dates of a model, or of the model that it is a snapshot of."""
    for name, dates in adapter.dates.items():
        rest = model.removeprefix(name)
        if not rest or (rest != model and match_snapshot(rest)):
            return dates
    return Dates()


def refusal(adapter: Adapter, model: str) -> str | None:
    """Return why a model cannot be asked for any more; None if it can."""
    dates = dates_of(adapter, model)
    if not _is_over(dates.shut_down) or base_url_of(adapter) != adapter.base_url:
        return None
    return f"{adapter.title} shut {model} down on {_day(dates.shut_down)}{_instead(dates)}."


def warning(adapter: Adapter, model: str) -> str | None:
    """Return what is coming for a model that can still be asked for; None if nothing is."""
    dates = dates_of(adapter, model)
    if dates.shut_down is not None and not _is_over(dates.shut_down):
        return f"{adapter.title} shuts {model} down on {_day(dates.shut_down)}{_instead(dates)}."
    if dates.shut_down is None and _is_over(dates.deprecated):
        return f"{adapter.title} calls {model} deprecated{_instead(dates)}."
    return None


def _is_over(day: date | None) -> bool:
    return day is not None and day <= datetime.now(UTC).date()


def _day(day: date | None) -> str:
    return f"{day:%-d %B %Y}" if day else "an unknown day"


def _instead(dates: Dates) -> str:
    return f"; use {dates.successor}" if dates.successor else ", without a successor"
