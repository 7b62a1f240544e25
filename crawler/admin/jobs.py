"""Projects and crawl jobs in the admin."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin import actor_of, owner_and_tier
from accounts.models import TierName
from crawler import services
from crawler.admin.forms import (
    MAX_CHUNKS_AT_ONCE,
    CrawlJobForm,
    SourceForm,
    SourceFormSet,
    label_for,
)
from crawler.admin.overview import overview, progress_bar
from crawler.errors import CrawlError
from crawler.models import CrawlJob, CrawlSource, Project
from jobs.queue import admission
from jobs.queue.kinds import kind_named
from jobs.queue.worker import notify
from pixsim.core.admin.actions import PriorityActionForm, PriorityFilter, chosen_priority
from pixsim.core.admin.deleting import DatabaseCascadeAdmin
from pixsim.core.admin.display import age, badge, shortened
from pixsim.core.admin.paging import EstimatedPaginator

ADMIN_PROJECT = "Admin"
MAX_STEERED = 1000
"""So many jobs can be steered by one click."""

# A worker locks its chunk or source before the job, and what it found in between.
LOCK_OF_JOBS = tuple(
    f"SELECT 1 FROM {table} WHERE job_id = ANY(%s) ORDER BY id FOR UPDATE"
    for table in ("crawl_sources", "job_chunks")
)
LOCK_OF_PROJECTS = tuple(
    f"SELECT 1 FROM {table} WHERE job_id IN (SELECT id FROM crawl_jobs WHERE project_id = ANY(%s))"
    " ORDER BY id FOR UPDATE"
    for table in ("crawl_sources", "job_chunks")
)

# What is done to a job, and how the message calls that.
VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "pause": (services.pause_job, "paused"),
    "resume": (services.resume_job, "resumed"),
    "cancel": (services.cancel_job, "cancelled"),
    "retry": (services.retry_job, "being tried again"),
}


class OwnerTierFilter(admin.SimpleListFilter):
    title = "owner's tier"
    parameter_name = "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("system", "system (no owner)"), *TierName.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "system":
            return queryset.filter(project__owner=None)
        return queryset.filter(project__owner__user_tier=self.value()) if self.value() else queryset


@admin.register(Project)
class ProjectAdmin(DatabaseCascadeAdmin):
    list_display = ["name", "owner_and_tier", "status", "created_at"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__email"]
    autocomplete_fields = ["owner"]
    fields = ["name", "owner", "description"]
    ordering = ["-id"]
    paginator = EstimatedPaginator
    show_full_result_count = False
    deleted_with = "all its crawl jobs, their chunks, candidates and images"
    locked_first = LOCK_OF_PROJECTS

    @admin.display(description="owner and tier")
    def owner_and_tier(self, project: Project) -> SafeString:
        return owner_and_tier(project.owner)

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> list[str]:
        # Work in the queue carries its owner: a project does not change hands.
        return ["owner"] if obj else []


class SourceInline(admin.TabularInline):
    """Where a job's images come from. What discovery has begun to read is not edited any more."""

    model = CrawlSource
    form = SourceForm
    formset = SourceFormSet
    verbose_name = "source"
    verbose_name_plural = "sources"
    readonly_fields = ["state", "read", "problem"]

    @admin.display(description="state")
    def state(self, source: CrawlSource) -> SafeString | str:
        return badge(source.status) if source.pk else ""

    @admin.display(description="found, rejected")
    def read(self, source: CrawlSource) -> str:
        return f"{source.found:,}, {source.rejected:,}" if source.pk else ""

    @admin.display(description="problem")
    def problem(self, source: CrawlSource) -> SafeString | str:
        return shortened(source.error_message or source.rejection, 200) if source.pk else ""

    def get_fields(self, request: HttpRequest, obj: CrawlJob | None = None) -> list[Any]:
        asked = ["location", "kind", "label", "options"]
        return [*asked, *self.readonly_fields] if obj else asked

    def get_extra(self, request: HttpRequest, obj: CrawlJob | None = None, **kwargs: Any) -> int:
        return 0 if obj else 1

    def has_view_permission(self, request: HttpRequest, obj: CrawlJob | None = None) -> bool:
        return request.user.has_perm("crawler.view_crawljob") or self.has_add_permission(
            request, obj
        )

    def has_add_permission(self, request: HttpRequest, obj: CrawlJob | None = None) -> bool:
        if obj is None:
            return request.user.has_perm("crawler.add_crawljob")
        return obj.is_open and request.user.has_perm("crawler.change_crawljob")

    def has_change_permission(self, request: HttpRequest, obj: CrawlJob | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: CrawlJob | None = None) -> bool:
        return False


@admin.register(CrawlJob)
class CrawlJobAdmin(DatabaseCascadeAdmin):
    form = CrawlJobForm
    inlines = [SourceInline]
    change_list_template = "admin/wide_change_list.html"
    action_form = PriorityActionForm
    actions = ["pause", "resume", "cancel", "retry", "change_priority"]
    autocomplete_fields = ["project"]
    list_display = [
        "job",
        "state",
        "progress_bar",
        "images",
        "chunks",
        "priority",
        "owner_and_tier",
        "age",
    ]
    list_filter = ["status", PriorityFilter, OwnerTierFilter]
    list_select_related = ["project__owner"]
    list_per_page = 50
    ordering = ["-id"]
    paginator = EstimatedPaginator
    search_fields = ["name", "=id", "project__name", "project__owner__email"]
    search_help_text = "A job's name or number, its project, or its owner's e-mail."
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ["job", "priority"]
    deleted_with = "its chunks, sources, candidates and images"
    locked_first = LOCK_OF_JOBS

    # Columns

    @admin.display(description="crawl job", ordering="name")
    def job(self, job: CrawlJob) -> SafeString:
        return format_html('{} <span class="px-quiet-text">#{}</span>', job.name, job.pk)

    @admin.display(description="status")
    def state(self, job: CrawlJob) -> SafeString:
        return badge(job.status)

    @admin.display(description="progress")
    def progress_bar(self, job: CrawlJob) -> SafeString:
        return format_html(
            '<span class="px-progress">{}<span>{} %</span></span>', progress_bar(job), job.progress
        )

    @admin.display(description="stored / requested")
    def images(self, job: CrawlJob) -> str:
        return f"{job.valid_images:,} / {job.max_images:,}"

    @admin.display(description="chunks")
    def chunks(self, job: CrawlJob) -> SafeString:
        failed = (
            format_html(' <span class="px-bad-text">{} failed</span>', job.failed_chunks)
            if job.failed_chunks
            else ""
        )
        return format_html("{} / {}{}", job.completed_chunks, job.total_chunks, failed)

    @admin.display(description="owner and tier")
    def owner_and_tier(self, job: CrawlJob) -> SafeString:
        return owner_and_tier(job.project.owner)

    @admin.display(description="age")
    def age(self, job: CrawlJob) -> SafeString | str:
        return age(job.created_at)

    # The form

    def get_fields(self, request: HttpRequest, obj: CrawlJob | None = None) -> list[Any]:
        asked = ["name", "project", "keywords", "max_images", "priority", "chunk_size", "options"]
        return [*asked, "created_at"] if obj else asked

    def get_readonly_fields(self, request: HttpRequest, obj: CrawlJob | None = None) -> list[str]:
        if obj is None:
            return []
        ended = [] if obj.is_open else ["priority", "options"]
        return ["project", "max_images", "chunk_size", "created_at", *ended]

    def save_model(self, request: HttpRequest, obj: CrawlJob, form: Any, change: bool) -> None:
        if not change:
            obj.project = form.cleaned_data["project"] or _admin_project()
            obj.save()
            return
        # Never the whole row: workers change its counters meanwhile.
        plain = [name for name in form.changed_data if name in ("name", "keywords", "options")]
        if plain:
            obj.save(update_fields=[*plain, "updated_at"])
        if "priority" in form.changed_data:
            # After the commit: it locks rows in the queue's own order.
            transaction.on_commit(
                partial(
                    services.change_priority,
                    job_id=obj.pk,
                    priority=obj.priority,
                    actor=actor_of(request),
                )
            )

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for source in formset.save(commit=False):
            source.priority = form.instance.priority
            source.label = label_for(form.instance, source)
            source.save()
        formset.save_m2m()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        job = form.instance
        if change:
            transaction.on_commit(_take_in_sources)
        elif -(-job.max_images // job.chunk_size) <= MAX_CHUNKS_AT_ONCE:
            services.plan_job(job_id=job.pk)
        else:
            messages.info(request, "It has many chunks: a worker splits it, which takes a moment.")

    def response_add(
        self, request: HttpRequest, obj: CrawlJob, post_url_continue: str | None = None
    ) -> HttpResponse:
        response = super().response_add(request, obj, post_url_continue)
        if "_addanother" in request.POST or "_popup" in request.POST:
            return response
        return HttpResponseRedirect(_change_url(obj.pk))

    # Pages of a job

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<int:job_id>/overview/", view(self.overview), name="crawler_crawljob_overview"),
            path("<int:job_id>/steer/<str:verb>/", view(self.steer), name="crawler_crawljob_steer"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        job = self.get_object(request, object_id)
        extra = {}
        if job and self.has_view_permission(request, job):
            extra = overview(job, may_steer=self.has_change_permission(request, job))
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def overview(self, request: HttpRequest, job_id: int) -> JsonResponse:
        """The live part of a job's page: its HTML, and whether it will change any more."""
        job = get_object_or_404(CrawlJob.objects.select_related("project__owner"), pk=job_id)
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        shown = overview(job, may_steer=self.has_change_permission(request, job))
        html = render_to_string("admin/crawler/crawljob/overview.html", shown, request)
        return JsonResponse({"html": html, "live": job.is_open})

    @method_decorator(require_POST)
    def steer(self, request: HttpRequest, job_id: int, verb: str) -> HttpResponse:
        if verb not in VERBS or not self.has_change_permission(request):
            raise PermissionDenied
        self._steer(request, verb, [job_id])
        return HttpResponseRedirect(_change_url(job_id))

    # Actions

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        self._steer_selected(request, "pause", queryset)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        self._steer_selected(request, "resume", queryset)

    @admin.action(description="Cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        self._steer_selected(request, "cancel", queryset)

    @admin.action(description="Try failed and short chunks again", permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        self._steer_selected(request, "retry", queryset)

    @admin.action(description="Change priority", permissions=["change"])
    def change_priority(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        priority = chosen_priority(request)
        if priority is None:
            return
        ids = self._selected(request, queryset)
        for job_id in ids:
            services.change_priority(job_id=job_id, priority=priority, actor=actor_of(request))
        if ids:
            messages.success(request, f"{len(ids)} now with priority {priority}.")

    def _steer_selected(
        self, request: HttpRequest, verb: str, queryset: QuerySet[CrawlJob]
    ) -> None:
        self._steer(request, verb, self._selected(request, queryset))

    def _selected(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> list[int]:
        ids = list(queryset.values_list("pk", flat=True)[: MAX_STEERED + 1])
        if len(ids) > MAX_STEERED:
            messages.error(request, f"Select at most {MAX_STEERED:,} jobs at once.")
            return []
        return ids

    def _steer(self, request: HttpRequest, verb: str, job_ids: list[int]) -> None:
        act, done = VERBS[verb]
        changed = 0
        for job_id in job_ids:
            try:
                act(job_id=job_id, actor=actor_of(request))
                changed += 1
            except CrawlError as refusal:
                messages.error(request, str(refusal))
        if changed:
            jobs = "1 crawl job is" if changed == 1 else f"{changed} crawl jobs are"
            messages.success(request, f"{jobs} {done}.")


def _admin_project() -> Project:
    """The system's project of jobs that were added here without one."""
    project = Project.objects.filter(owner=None, name=ADMIN_PROJECT).order_by("id").first()
    return project or Project.objects.create(owner=None, name=ADMIN_PROJECT)


def _take_in_sources() -> None:
    admission.adopt(kind_named("discovery"))
    notify.ring()


def _change_url(job_id: int) -> str:
    return reverse("admin:crawler_crawljob_change", args=[job_id])
