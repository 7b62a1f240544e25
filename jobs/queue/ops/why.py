"""Why an item is not running, in a sentence for people, with the next time or the missing thing."""

from datetime import datetime

from django.utils import timezone

from accounts import tiers
from jobs.queue import pauses
from jobs.queue.items import WorkItem
from jobs.queue.kinds import Kind, all_kinds
from jobs.queue.ops import workers
from pixsim.core.db.sql import fetch
from pixsim.core.formats import format_duration

COUNTED_UP_TO = 10_000

RUNNABLE = (
    "/* queue:runnable */ SELECT ({runnable}), ({reason}) FROM {table} item WHERE id = %(id)s"
)

AHEAD_IN_WINDOW = """/* queue:ahead_in_window */
SELECT (SELECT count(*) FROM {table} WHERE owner_id = %(owner)s AND ready_at IS NOT NULL),
       (SELECT count(*) FROM (
            SELECT 1 FROM {table} other
            WHERE owner_id = %(owner)s AND status = 'pending' AND ready_at IS NULL AND NOT held
              AND (-priority, created_at, id) < (%(urgency)s, %(created)s, %(id)s)
            LIMIT %(limit)s) AS ahead)
"""

AHEAD = """/* queue:ahead */
SELECT count(*) FROM (
    SELECT 1 FROM {table} WHERE status = 'pending' AND ready_at IS NOT NULL
      AND (-priority, ready_at, id) < (%(urgency)s, %(ready)s, %(id)s)
    LIMIT %(limit)s) AS ahead
"""


def explain(item_id: int, kinds: tuple[Kind, ...] | None = None) -> dict[str, str]:
    """Return, by the name of each kind that has an item of this number, why it is not running."""
    found = {}
    for kind in kinds or all_kinds():
        item = kind.model._default_manager.select_related("owner").filter(pk=item_id).first()
        if item is not None:
            found[kind.name] = why(kind, item)
    return found


def why(kind: Kind, item: WorkItem) -> str:
    """Return the reason, as of now."""
    if item.status == "processing":
        return _processing(item)
    if item.status != "pending":
        return _ended(kind, item)
    if kind.name in pauses.fresh(pauses.KIND):
        return (
            f"All work of the kind {kind.name} is paused. Resume: queue resume --kind {kind.name}"
        )
    if item.owner_id and str(item.owner_id) in pauses.fresh(pauses.OWNER):
        return f"{item.owner}'s work is paused. Resume: queue resume --owner {item.owner}"
    if item.held:
        return _held(kind, item)
    if item.owner_id is None and item.ready_at is None:
        return f"It was inserted or revived by hand: a worker registers it within a second. {_workers()}"
    if item.ready_at is None:
        return _waiting(kind, item)
    return kind.waits_for(item) or _ready(kind, item)


def _processing(item: WorkItem) -> str:
    since = f"It runs: attempt {item.attempt_count}, begun {_ago(item.started_at)}"
    if item.lease_expires_at is None:
        return f"{since}; a provider is at work on it."
    if item.lease_expires_at < timezone.now():
        return (
            f"{since}, by {item.worker}, which has died or stalled: its lease ended "
            f"{_ago(item.lease_expires_at)}, and a worker takes it back within a second. {_workers()}"
        )
    return f"{since}, by {item.worker}."


def _ended(kind: Kind, item: WorkItem) -> str:
    ended = getattr(item, kind.model.FINISHED)
    text = f"It is {item.status}" + (f" since {_time(ended)}" if ended else "")
    if item.status == "completed":
        return f"{text}."
    return (
        f"{text}: {item.error_message or 'no reason is recorded'} It runs again when it is retried."
    )


def _held(kind: Kind, item: WorkItem) -> str:
    if item.available_at is not None:
        seconds = (item.available_at - timezone.now()).total_seconds()
        when = f"in {format_duration(seconds)}" if seconds > 0 else "within a second"
        why = f": {item.error_message}" if item.error_message else "."
        tries = f" after attempt {item.attempt_count}" if item.retry_count else ""
        return f"It is tried again at {_time(item.available_at)} ({when}){tries}{why}"
    [(runnable, reason)] = fetch(kind.sql(RUNNABLE), {"id": item.pk})
    if not runnable:
        return str(
            reason
            or "Its job is paused or has ended: it goes on when the job is resumed or retried."
        )
    reason = item.error_message or "Somebody holds it."
    return f"{reason} It goes on when it is requeued or resumed."


def _waiting(kind: Kind, item: WorkItem) -> str:
    assert item.owner is not None  # noqa: S101 - for the type checker
    window = tiers.windows().get(item.owner.user_tier, 0)
    params = {"owner": item.owner_id, "urgency": -item.priority, "created": item.created_at}
    [(used, ahead)] = fetch(
        kind.sql(AHEAD_IN_WINDOW), {**params, "id": item.pk, "limit": COUNTED_UP_TO}
    )
    if used < window:
        return f"It is about to enter {item.owner}'s window. {_workers()}"
    return (
        f"{item.owner}'s window is full: {used} of {window} ({item.owner.user_tier}) are ready or "
        f"running, and {_count(ahead)} of theirs are before it."
    )


def _ready(kind: Kind, item: WorkItem) -> str:
    params = {"urgency": -item.priority, "ready": item.ready_at, "id": item.pk}
    [(ahead,)] = fetch(kind.sql(AHEAD), {**params, "limit": COUNTED_UP_TO})
    first = (
        "It is next" if ahead == 0 else f"It is ready, {_count(ahead)} more urgent are before it"
    )
    return f"{first}. {_workers()}"


def _workers() -> str:
    """Return a sentence about the workers that could take it."""
    alive = workers.alive()
    if not alive:
        return "No worker is alive: start one with celery -A pixsim worker."
    if all(one.is_draining for one in alive):
        return "All workers drain: let one go on with queue undrain NAME."
    busy = sum(len(one.in_hand) for one in alive)
    return f"{len(alive)} workers are alive, with {busy} items in hand."


def _count(number: int) -> str:
    return f"{number:,}" if number < COUNTED_UP_TO else f"at least {COUNTED_UP_TO:,}"


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "at an unknown time"
    return f"{format_duration((timezone.now() - moment).total_seconds())} ago"


def _time(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
