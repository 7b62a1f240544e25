"""Attempts in the admin: a list to search, and the last ones of an item on its page."""

from collections import defaultdict
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.admin import RecordAdmin
from jobs.models import KEEP_PER_ITEM, AttemptOutcome, WorkAttempt
from jobs.queue.kinds import kind_named
from pixsim.core.admin.display import age, badge, shortened
from pixsim.core.admin.links import linked, page_url
from pixsim.core.admin.lists import column
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.formats import format_duration

TONES = {
    AttemptOutcome.COMPLETED: "good",
    AttemptOutcome.RETRY: "warn",
    AttemptOutcome.FAILED: "bad",
    AttemptOutcome.LOST: "bad",
    AttemptOutcome.GIVEN_BACK: "quiet",
    AttemptOutcome.TAKEN: "quiet",
}


def _result(attempt: WorkAttempt) -> SafeString:
    return badge(attempt.get_outcome_display(), TONES.get(AttemptOutcome(attempt.outcome), ""))


def _did(attempt: WorkAttempt) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in (attempt.details or {}).items())


@admin.register(WorkAttempt)
class WorkAttemptAdmin(RecordAdmin, KeysetAdmin):
    list_display = [
        "id", "item", "number", "result", "ended", "took", "did", "error",
        "at_worker",
    ]  # fmt: skip
    list_filter = ["kind", "outcome", "error_class"]
    actions = ["retry"]
    list_select_related = []
    link_lookups = ["item_id"]
    search_fields = ["item_id", "task_id", "worker"]
    search_number = "item_id"
    search_help_text = "The number of a chunk, source or job; a Celery task's id; a worker."

    item = column("item", lambda attempt: item_link(attempt.kind, attempt.item_id))
    result = column("outcome", _result)
    ended = column("ended", lambda attempt: age(attempt.ended_at))
    took = column("took", lambda attempt: format_duration(attempt.seconds))
    did = column("did", _did)
    error = column("error", lambda attempt: shortened(attempt.error_message, 60))
    at_worker = column("worker", lambda attempt: shortened(attempt.worker, 40))

    def has_retry_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perms(["crawler.change_jobchunk", "jobs.change_job"]))

    @admin.action(description="Start the failed items anew", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[WorkAttempt]) -> None:
        wanted: dict[str, set[int]] = defaultdict(set)
        for kind, item_id in queryset.filter(outcome="failed").values_list("kind", "item_id"):
            wanted[kind].add(item_id)
        for name, ids in wanted.items():
            started = kind_named(name).retry(sorted(ids))
            messages.success(request, f"{name}: {started} of {len(ids)} started anew.")
        if not wanted:
            messages.warning(request, "None of these ended as failed: nothing was started.")


def item_link(kind: str, item_id: int) -> SafeString | str:
    """Return "chunk 12" as a link to its page, if it has one that the viewer may open.

    The viewer sees the item.
    """
    try:
        meta = kind_named(kind).model._meta
    except LookupError:
        return f"{kind} {item_id}"
    page = page_url(f"{meta.app_label}_{meta.model_name}_change", item_id)
    return linked(f"{kind} {item_id}", page)


def last_attempts(kind: str, item_id: int) -> SafeString | str:
    """Return a table of the item's last attempts, the latest first."""
    attempts = WorkAttempt.objects.filter(kind=kind, item_id=item_id).order_by("-number")
    shown = attempts[:KEEP_PER_ITEM]
    if not shown:
        return "None yet."
    rows = [
        (
            attempt.number,
            age(attempt.ended_at),
            _result(attempt),
            format_duration(attempt.seconds),
            _did(attempt),
            shortened(attempt.error_message, 120),
            attempt.worker or "",
        )
        for attempt in shown
    ]
    query = urlencode([("kind", kind), ("item_id", item_id)])
    everything = page_url("jobs_workattempt_changelist", query=query)
    return render_to_string("admin/jobs/attempts.html", {"rows": rows, "everything": everything})
