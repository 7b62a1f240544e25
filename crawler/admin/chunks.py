"""Job chunks in the admin: the state of each in the queue, and changes by hand."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin import actor_of, own_or_systems, owner_and_tier
from crawler.admin.forms import REFUSALS, ChunkForm
from crawler.models import OPEN_STATUSES, JobChunk
from crawler.services import chunks
from jobs.admin.attempts import last_attempts
from jobs.admin.filters import ErrorClassFilter, OwnerTierFilter, QueueStateFilter
from jobs.queue.items import MAX_RETRIES, Status
from pixsim.core.admin.actions import (
    PriorityActionForm,
    PriorityFilter,
    chosen_priority,
    counted,
    report,
)
from pixsim.core.admin.batches import BatchedAdmin
from pixsim.core.admin.display import age, badge, shortened, until
from pixsim.core.admin.forms import ServiceAdmin, copy_row
from pixsim.core.admin.links import linked, page_url
from pixsim.core.admin.lists import column
from pixsim.core.admin.owned import OwnedAdmin
from pixsim.core.admin.paging import KeysetAdmin

CANCELLED = ~Q(job__status__in=OPEN_STATUSES)
"""Of pending chunks: those that their job has ended without."""
EDITABLE = ["status", "priority", "owner", "held"]
FIXED = ["job", "chunk_index", "image_range"]
SHOWN = ["see_also", "attempts"]
BY_THE_QUEUE = [
    field.name for field in JobChunk._meta.fields if field.name not in ("id", *FIXED, *EDITABLE)
]


def _of_open_jobs(condition: Q) -> Q:
    return condition & ~(Q(status=Status.PENDING) & CANCELLED)


class ChunkStateFilter(QueueStateFilter):
    conditions = {
        **{
            name: (words, _of_open_jobs(condition))
            for name, (words, condition) in QueueStateFilter.conditions.items()
        },
        "cancelled": ("cancelled with its job", Q(status=Status.PENDING) & CANCELLED),
        "stuck": (
            "stuck: its lease has expired",
            Q(status=Status.PROCESSING)
            & (Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now())),
        ),
        "retryable": (
            "failed by something outside the queue, with retries left",
            Q(status=Status.FAILED, retry_count__lt=MAX_RETRIES),
        ),
    }


class ChunkErrorFilter(ErrorClassFilter):
    kind = "chunk"


def _crawl_job(chunk: JobChunk) -> SafeString:
    span = chunk.image_range if isinstance(chunk.image_range, dict) else {}
    return format_html(
        '<span class="px-nowrap">{} <span class="px-quiet-text">{} to {}</span></span>',
        linked(shortened(chunk.job.name, 32), page_url("crawler_crawljob_change", chunk.job_id)),
        span.get("start", "?"),
        span.get("end", "?"),
    )


def _see_also(chunk: JobChunk) -> SafeString | str:
    pages = (
        (page_url(f"crawler_{name}_changelist", query=f"chunk__id__exact={chunk.pk}"), words)
        for name, words in (("image", "its pictures"), ("candidate", "candidates in hand"))
    )
    return (
        format_html_join(" · ", '<a href="{}">{}</a>', [page for page in pages if page[0]]) or "-"
    )


def _state(chunk: JobChunk) -> SafeString:
    if chunk.status != Status.PENDING:
        state = badge(chunk.status)
    elif not chunk.job.is_open:
        state = badge("cancelled")
    elif chunk.held:
        state = badge("due later" if chunk.available_at else "held", "warn")
    else:
        state = badge("ready", "quiet") if chunk.ready_at else badge("waiting", "off")
    retries = f" retry {chunk.retry_count}" if chunk.retry_count else ""
    return format_html(
        '<span class="px-nowrap">{}<span class="px-quiet-text">{}</span></span>', state, retries
    )


def _lease(chunk: JobChunk) -> SafeString | str:
    if chunk.status == Status.PROCESSING:
        return until(chunk.lease_expires_at)
    return until(chunk.available_at) if chunk.available_at else ""


def _act(
    request: HttpRequest, queryset: QuerySet[JobChunk], act: Callable[..., int], done: str
) -> None:
    ids = list(queryset.order_by().values_list("pk", flat=True))
    try:
        changed = act(ids, actor=actor_of(request))
    except REFUSALS as refusal:
        messages.error(request, f"{len(ids):,} were not changed. {refusal}")
        return
    names, unchanged = queryset.model._meta, len(ids) - changed
    report(request, names, changed=changed, done=done, refused=unchanged)
    if unchanged and not hasattr(request, "tally"):
        messages.info(request, f"{counted(unchanged, names)} as before.")


def _action(title: str, act: Callable[..., int], done: str) -> Any:
    @admin.action(description=title, permissions=["change"])
    def action(_self: Any, request: HttpRequest, queryset: QuerySet[JobChunk]) -> None:
        _act(request, queryset, act, done)

    return action


@admin.register(JobChunk)
class JobChunkAdmin(OwnedAdmin, ServiceAdmin, BatchedAdmin, KeysetAdmin):
    form = ChunkForm
    refusals = REFUSALS
    action_form = PriorityActionForm
    actions = ["retry", "requeue", "change_priority", "hold"]
    batched = ["retry", "requeue", "change_priority", "hold"]
    batch_size = 5_000
    autocomplete_fields = ["owner"]
    raw_id_fields = ["job"]
    list_display = [
        "chunk",
        "crawl_job",
        "state",
        "priority",
        "owner_and_tier",
        "age",
        "lease",
        "held_by",
        "error",
    ]
    list_filter = ["status", ChunkStateFilter, PriorityFilter, OwnerTierFilter, ChunkErrorFilter]
    list_select_related = ["job", "owner"]
    search_fields = ["task_id", "job_id"]
    search_number = "job_id"
    search_help_text = "A Celery task's id, or a crawl job's number."

    # Columns

    chunk = column("chunk", lambda chunk: f"#{chunk.pk}")
    crawl_job = column("crawl job, images", _crawl_job)
    state = column("status", _state)
    owner_and_tier = column("owner and tier", lambda chunk: owner_and_tier(chunk.owner))
    age = column("age", lambda chunk: age(chunk.created_at))
    lease = column("lease", _lease)
    held_by = column(
        "worker",
        lambda chunk: format_html('<span class="px-code">{}</span>', shortened(chunk.worker, 24)),
    )
    error = column("error", lambda chunk: shortened(chunk.error_message, 60))
    attempts = column("attempts", lambda chunk: last_attempts("chunk", chunk.pk))
    see_also = column("see also", _see_also)

    # The form

    def get_fields(self, request: HttpRequest, obj: JobChunk | None = None) -> list[Any]:
        if obj is None:
            return [*FIXED, "priority"]
        return [*FIXED, *EDITABLE, *SHOWN, *BY_THE_QUEUE]

    def get_readonly_fields(self, request: HttpRequest, obj: JobChunk | None = None) -> list[str]:
        return [*FIXED, *SHOWN, *BY_THE_QUEUE, *self.unpickable(request)] if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return own_or_systems(request, field) if db_field.name == "owner" else field

    def save_model(self, request: HttpRequest, obj: JobChunk, form: Any, change: bool) -> None:
        actor = actor_of(request)
        if change:
            chunks.change_chunk(chunk_id=obj.pk, changes=form.changes, shown=form.was, actor=actor)
            return
        chunk_id = chunks.add_chunk(
            job_id=obj.job_id,
            start=obj.start,
            end=obj.end,
            index=form.cleaned_data["chunk_index"],
            priority=form.cleaned_data["priority"],
            actor=actor,
        )
        copy_row(JobChunk.objects.get(pk=chunk_id), obj)

    def has_delete_permission(self, request: HttpRequest, obj: JobChunk | None = None) -> bool:
        """Return False: a job without one of its chunks could never be complete."""
        return False

    # Actions

    retry = _action("Retry failed chunks", chunks.retry, "to be tried again")
    requeue = _action("Requeue: put back into the queue", chunks.requeue, "back in the queue")
    hold = _action("Hold until requeued", chunks.hold, "held until requeued")

    @admin.action(description="Change priority", permissions=["change"])
    def change_priority(self, request: HttpRequest, queryset: QuerySet[JobChunk]) -> None:
        priority = chosen_priority(request)
        if priority is not None:
            act = partial(chunks.change_priority, priority=priority)
            _act(request, queryset, act, f"now with priority {priority}")
