"""The workers in the admin: which are alive, what each does, and since when; drain one."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin import RecordAdmin, actor_of
from jobs.admin.attempts import item_link
from jobs.models import Worker
from jobs.queue.kinds import all_kinds
from jobs.queue.ops import workers
from pixsim.core.admin.display import age, badge
from pixsim.core.admin.links import visible

SHOWN_ITEMS = 8


@admin.register(Worker)
class WorkerAdmin(RecordAdmin):
    """Only those that are alive: a row that is older than a lease is a worker that was killed."""

    list_display = ["name", "pid", "processes", "state", "doing", "up", "seen", "version"]
    list_display_links = None
    list_select_related = []
    actions = ["drain", "undrain"]
    ordering = ["name", "pid"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        return workers.seen_within_a_lease()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        self._held = workers.in_hand(all_kinds())
        self._seen = _seen(request, [one for held in self._held.values() for one in held])
        return super().changelist_view(request, extra_context)

    @admin.display(description="state")
    def state(self, worker: Worker) -> SafeString:
        if worker.is_draining:
            return badge("drains", "warn")
        return badge("busy", "good") if self._held.get(worker.name) else badge("idle", "quiet")

    @admin.display(description="in hand")
    def doing(self, worker: Worker) -> SafeString | str:
        held = self._held.get(worker.name, [])
        lines = format_html_join(
            "",
            "<div>{} attempt {}, {} <span class='px-quiet-text'>in {}</span></div>",
            (
                (self._item(one), one.attempt, age(one.started_at), one.pid)
                for one in held[:SHOWN_ITEMS]
            ),
        )
        if len(held) > SHOWN_ITEMS:
            return format_html("{}<div>and {} more</div>", lines, len(held) - SHOWN_ITEMS)
        return lines or "nothing"

    def _item(self, one: workers.InHand) -> SafeString | str:
        is_seen = (one.kind, one.id) in self._seen
        return item_link(one.kind, one.id) if is_seen else f"{one.kind} {one.id}"

    @admin.display(description="started")
    def up(self, worker: Worker) -> SafeString | str:
        return age(worker.started_at)

    @admin.display(description="last seen")
    def seen(self, worker: Worker) -> SafeString | str:
        return age(worker.last_seen_at)

    def has_drain_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_worker")

    @admin.action(
        description="Drain: end what is in hand, take nothing more", permissions=["drain"]
    )
    def drain(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        self._change(request, queryset, workers.drain, "drains")

    @admin.action(description="Let it take work again", permissions=["drain"])
    def undrain(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        self._change(request, queryset, workers.undrain, "takes work again")

    def _change(
        self,
        request: HttpRequest,
        queryset: QuerySet[Worker],
        change: Callable[..., int],
        done: str,
    ) -> None:
        for name in sorted(set(queryset.values_list("name", flat=True))):
            change(name, actor=actor_of(request))
            messages.success(request, f"{name} {done}, within a second or two.")


def _seen(request: HttpRequest, held: list[workers.InHand]) -> set[tuple[str, int]]:
    """Return those of the items in hand that the user may see, by kind and key."""
    found: set[tuple[str, int]] = set()
    for kind in all_kinds():
        keys = [one.id for one in held if one.kind == kind.name]
        rows = visible(kind.model._default_manager.filter(pk__in=keys), request.user)
        found |= {(kind.name, key) for key in rows.values_list("pk", flat=True)}
    return found
