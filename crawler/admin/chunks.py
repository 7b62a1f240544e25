"""Job chunks in the admin: what the queue holds, and steering single ones of it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import activity
from accounts.admin import actor_of, owner_and_tier
from crawler.admin.forms import ChunkForm
from crawler.models import JobChunk
from crawler.services import chunks
from jobs.queue.items import MAX_RETRIES, Status
from pixsim.core.admin.actions import PriorityActionForm, PriorityFilter, chosen_priority
from pixsim.core.admin.display import age, badge, shortened, until
from pixsim.core.admin.paging import KeysetAdmin

MAX_STEERED = 10_000
"""So many chunks can be steered by one click."""


class PlaceFilter(admin.SimpleListFilter):
    """Where in the queue a chunk is: finer than its status."""

    title = "place in the queue"
    parameter_name = "place"
    CONDITIONS = {
        "ready": Q(status=Status.PENDING, ready_at__isnull=False),
        "waiting": Q(status=Status.PENDING, ready_at__isnull=True, held=False),
        "held": Q(status=Status.PENDING, held=True),
        "stuck": Q(status=Status.PROCESSING)
        & (Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now())),
        "retryable": Q(status=Status.FAILED, retry_count__lt=MAX_RETRIES),
    }
    WORDS = {
        "ready": "ready for a worker",
        "waiting": "waits for its owner's window",
        "held": "held: paused, without a source, or not yet due",
        "stuck": "stuck: its lease has ended",
        "retryable": "failed with retries left",
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.WORDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = self.CONDITIONS.get(self.value() or "")
        return queryset.filter(condition) if condition else queryset


@admin.register(JobChunk)
class JobChunkAdmin(KeysetAdmin):
    form = ChunkForm
    action_form = PriorityActionForm
    actions = ["retry", "release", "change_priority", "pause"]
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
        "worker",
        "error",
    ]
    list_filter = ["status", PlaceFilter, PriorityFilter]
    list_select_related = ["job", "owner"]
    search_fields = ["task_id", "job_id"]
    search_number = "job_id"
    search_help_text = "A Celery task's id, or a crawl job's number."

    # Columns

    @admin.display(description="chunk")
    def chunk(self, chunk: JobChunk) -> SafeString:
        return format_html("{}", f"#{chunk.pk}")

    @admin.display(description="crawl job, images")
    def crawl_job(self, chunk: JobChunk) -> SafeString:
        span = chunk.image_range if isinstance(chunk.image_range, dict) else {}
        return format_html(
            '<span class="px-nowrap"><a href="{}">{}</a>'
            ' <span class="px-quiet-text">{} to {}</span></span>',
            reverse("admin:crawler_crawljob_change", args=[chunk.job_id]),
            shortened(chunk.job.name, 32),
            span.get("start", "?"),
            span.get("end", "?"),
        )

    @admin.display(description="status")
    def state(self, chunk: JobChunk) -> SafeString:
        retries = f" retry {chunk.retry_count}" if chunk.retry_count else ""
        return format_html(
            '<span class="px-nowrap">{}<span class="px-quiet-text">{}</span></span>',
            _place(chunk),
            retries,
        )

    @admin.display(description="owner and tier")
    def owner_and_tier(self, chunk: JobChunk) -> SafeString:
        return owner_and_tier(chunk.owner)

    @admin.display(description="age")
    def age(self, chunk: JobChunk) -> SafeString | str:
        return age(chunk.created_at)

    @admin.display(description="lease")
    def lease(self, chunk: JobChunk) -> SafeString | str:
        if chunk.status == Status.PROCESSING:
            return until(chunk.lease_expires_at)
        return until(chunk.available_at) if chunk.available_at else ""

    @admin.display(description="task")
    def worker(self, chunk: JobChunk) -> SafeString | str:
        return format_html('<span class="px-code">{}</span>', shortened(chunk.task_id, 8))

    @admin.display(description="error")
    def error(self, chunk: JobChunk) -> SafeString | str:
        return shortened(chunk.error_message, 60)

    # The form

    def get_fields(self, request: HttpRequest, obj: JobChunk | None = None) -> list[Any]:
        if obj is None:
            return ["job", "chunk_index", "image_range", "priority"]
        return [
            *["job", "chunk_index", "image_range", "status", "priority", "owner", "held"],
            *self._kept_by_the_queue(),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: JobChunk | None = None) -> list[str]:
        if obj is None:
            return []
        return ["job", "chunk_index", "image_range", *self._kept_by_the_queue()]

    def save_model(self, request: HttpRequest, obj: JobChunk, form: Any, change: bool) -> None:
        if not change:
            obj.save()
            transaction.on_commit(chunks.register)
            return
        # Field by field and never the whole row, which a worker may have changed meanwhile.
        changed = form.changed_data
        if "status" in changed:
            if obj.status == Status.PENDING:
                chunks.reopen([obj.pk])
            elif not chunks.end(obj.pk, status=obj.status):
                messages.warning(request, "The chunk has ended meanwhile: its status stays.")
        if "priority" in changed:
            chunks.change_priority([obj.pk], priority=obj.priority)
        if "owner" in changed:
            chunks.change_owner(obj.pk, owner=obj.owner_id)
        if "held" in changed:
            chunks.hold([obj.pk]) if obj.held else chunks.release([obj.pk])

    def has_delete_permission(self, request: HttpRequest, obj: JobChunk | None = None) -> bool:
        """Chunks go with their job: without one of them its images could never be complete."""
        return False

    # Actions

    @admin.action(description="Retry failed chunks", permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[JobChunk]) -> None:
        self._steer(request, queryset, chunks.retry, "retried", "to be tried again")

    @admin.action(description="Release: give back to the queue", permissions=["change"])
    def release(self, request: HttpRequest, queryset: QuerySet[JobChunk]) -> None:
        self._steer(request, queryset, chunks.release, "released", "given back to the queue")

    @admin.action(description="Pause until released", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[JobChunk]) -> None:
        self._steer(request, queryset, chunks.hold, "paused", "paused until released")

    @admin.action(description="Change priority", permissions=["change"])
    def change_priority(self, request: HttpRequest, queryset: QuerySet[JobChunk]) -> None:
        priority = chosen_priority(request)
        if priority is None:
            return
        act = partial(chunks.change_priority, priority=priority)
        self._steer(request, queryset, act, "priority_changed", f"now of priority {priority}")

    def _steer(
        self,
        request: HttpRequest,
        queryset: QuerySet[JobChunk],
        act: Callable[[Sequence[int]], int],
        action: str,
        words: str,
    ) -> None:
        ids = list(queryset.order_by().values_list("pk", flat=True)[: MAX_STEERED + 1])
        if len(ids) > MAX_STEERED:
            messages.error(request, f"Select at most {MAX_STEERED:,} chunks at once.")
            return
        changed = act(ids)
        if changed:
            activity.record(
                actor=actor_of(request),
                action=f"job_chunks.{action}",
                resource_type="job_chunk",
                resource_id=str(ids[0]) if len(ids) == 1 else "",
                chunks=ids[:100],
                changed=changed,
            )
            messages.success(request, f"{_chunks(changed)} {words}.")
        if changed < len(ids):
            messages.info(request, f"{_chunks(len(ids) - changed)} left as before.")

    def _kept_by_the_queue(self) -> list[str]:
        return [
            "error_message",
            "task_id",
            "retry_count",
            "ready_at",
            "available_at",
            "lease_id",
            "lease_expires_at",
            "started_at",
            "finished_at",
            "created_at",
            "updated_at",
        ]


def _place(chunk: JobChunk) -> SafeString:
    if chunk.status != Status.PENDING:
        return badge(chunk.status)
    if chunk.held:
        return badge("due later" if chunk.available_at else "held", "warn")
    return badge("ready", "quiet") if chunk.ready_at else badge("waiting", "off")


def _chunks(count: int) -> str:
    return "1 chunk" if count == 1 else f"{count:,} chunks"
