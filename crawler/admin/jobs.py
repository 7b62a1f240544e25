"""Projects and crawl jobs in the admin."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.forms import model_to_dict
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import actor_of, own_or_systems, owner_and_tier, owner_of_new_work
from accounts.models import Profile, TierName
from accounts.visibility import SYSTEM_WORK
from crawler.admin.forms import (
    DEFAULT_PROJECT,
    OF_ITS_OWNER,
    REFUSALS,
    CrawlJobForm,
    ProjectForm,
    SourceForm,
    SourceFormSet,
)
from crawler.admin.overview import is_live, overview, progress_bar
from crawler.export import newest_export
from crawler.models import CrawlJob, CrawlSource, Project
from crawler.services import accepting, lifecycle, projects
from pixsim.core.admin.actions import (
    PriorityActionForm,
    PriorityFilter,
    act_on_each,
    chosen_priority,
)
from pixsim.core.admin.deleting import DatabaseCascadeAdmin
from pixsim.core.admin.display import age, badge, tone_of
from pixsim.core.admin.forms import ServiceAdmin, copy_row
from pixsim.core.admin.inlines import TabularInline
from pixsim.core.admin.links import linked, page_url
from pixsim.core.admin.lists import ConditionFilter, column
from pixsim.core.admin.live import LivePageAdmin
from pixsim.core.admin.owned import OwnedAdmin
from pixsim.core.admin.paging import EstimatedPaginator
from pixsim.core.redaction import redact

# A worker locks its chunk or source first, then rows that it found, then the job.
LOCK_OF_JOBS = tuple(
    f"SELECT 1 FROM {table} WHERE job_id = ANY(%s) ORDER BY id FOR UPDATE"
    for table in ("crawl_sources", "job_chunks")
)
LOCK_OF_PROJECTS = tuple(
    f"SELECT 1 FROM {table} WHERE job_id IN (SELECT id FROM crawl_jobs WHERE project_id = ANY(%s))"
    " ORDER BY id FOR UPDATE"
    for table in ("crawl_sources", "job_chunks")
)


class OwnerTierFilter(ConditionFilter):
    title = "owner's tier"
    parameter_name = "tier"
    conditions = {
        "system": ("system (no owner)", Q(project__owner=None)),
        **{tier: (name, Q(project__owner__user_tier=tier)) for tier, name in TierName.choices},
    }


@admin.register(Project)
class ProjectAdmin(OwnedAdmin, ServiceAdmin, DatabaseCascadeAdmin):
    form = ProjectForm
    refusals = REFUSALS
    list_display = ["name", "owner_and_tier", "status", "created_at"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__email"]
    autocomplete_fields = ["owner"]
    ordering = ["-id"]
    paginator = EstimatedPaginator
    show_full_result_count = False
    deleted_with = "all its crawl jobs, their chunks, candidates and images"
    locked_first = LOCK_OF_PROJECTS

    owner_and_tier = column("owner and tier", lambda project: owner_and_tier(project.owner))

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> list[str]:
        # A project keeps its owner: the work in the queue carries the owner too.
        return ["owner"] if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return own_or_systems(request, field) if db_field.name == "owner" else field

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        actor = actor_of(request)
        if change:
            projects.change_project(
                project_id=obj.pk, changes=form.changes, shown=form.was, actor=actor
            )
        else:
            copy_row(projects.create_project(**form.cleaned_data, actor=actor), obj)


class SourceInline(TabularInline):
    """The sources of a job. They are added, never changed: discovery may have read a part."""

    model = CrawlSource
    form = SourceForm
    formset = SourceFormSet
    verbose_name = "source"
    verbose_name_plural = "sources"
    # Their states stand in the live part of the page, where they are renewed.
    fields = ["location", "kind", "label", "options"]

    def get_extra(self, request: HttpRequest, obj: CrawlJob | None = None, **kwargs: Any) -> int:
        if obj:
            return 0
        jobs: Any = self.admin_site.get_model_admin(CrawlJob)
        like = jobs.like_of(request)
        return like.sources.count() if like else 1

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


def _without_secrets(location: str) -> str:
    """Return a location to begin with; an address with a secret must be typed anew."""
    return location if redact(location) == location else ""


def _chunks(job: CrawlJob) -> SafeString:
    failed = (
        format_html(' <span class="px-bad-text">{} failed</span>', job.failed_chunks)
        if job.failed_chunks
        else ""
    )
    return format_html("{} / {}{}", job.completed_chunks, job.total_chunks, failed)


def _each(
    request: HttpRequest, queryset: QuerySet[CrawlJob], act: Callable[..., object], done: str
) -> None:
    act = partial(act, actor=actor_of(request))
    act_on_each(request, queryset, lambda job: act(job_id=job.pk), done=done, refusals=REFUSALS)


def _action(title: str, act: Callable[..., object], done: str) -> Any:
    @admin.action(description=title, permissions=["change"])
    def action(_self: Any, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        _each(request, queryset, act, done)

    return action


@admin.register(CrawlJob)
class CrawlJobAdmin(OwnedAdmin, ServiceAdmin, LivePageAdmin, DatabaseCascadeAdmin):
    form = CrawlJobForm
    refusals = REFUSALS
    live_template = "admin/crawler/crawljob/overview.html"
    buttons = ("pause", "resume", "cancel", "retry", "repeat")
    inlines = [SourceInline]
    change_list_template = "admin/wide_change_list.html"
    action_form = PriorityActionForm
    actions = ["pause", "resume", "cancel", "retry", "repeat", "change_priority"]
    batched = ["pause", "resume", "cancel", "retry", "change_priority"]
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

    job = column(
        "crawl job",
        lambda job: format_html('{} <span class="px-quiet-text">#{}</span>', job.name, job.pk),
        ordering="name",
    )
    state = column("status", lambda job: badge(job.status_words, tone_of(job.status)))
    progress_bar = column(
        "progress",
        lambda job: format_html(
            '<span class="px-progress">{}<span>{} %</span></span>', progress_bar(job), job.progress
        ),
    )
    images = column("stored / requested", lambda job: f"{job.valid_images:,} / {job.max_images:,}")
    chunks = column("chunks", _chunks)
    owner_and_tier = column("owner and tier", lambda job: owner_and_tier(job.project.owner))
    age = column("age", lambda job: age(job.created_at))

    # The form

    def get_fields(self, request: HttpRequest, obj: CrawlJob | None = None) -> list[Any]:
        asked = ["name", "project", "keywords", "max_images", "priority", "chunk_size", "options"]
        return [*asked, "created_at"] if obj else asked

    def get_form(
        self, request: HttpRequest, obj: CrawlJob | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None and not request.user.has_perm(SYSTEM_WORK):
            form.project_help = f"{OF_ITS_OWNER} Empty: to you, in {DEFAULT_PROJECT}."
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        like = self.like_of(request)
        if like is None:
            return super().get_changeform_initial_data(request)
        names = ("name", "project", "keywords", "max_images", "priority", "chunk_size", "options")
        return model_to_dict(like, names)

    def get_formset_kwargs(
        self, request: HttpRequest, obj: CrawlJob, inline: Any, prefix: str
    ) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        if obj.pk is None and request.method == "GET" and (like := self.like_of(request)):
            names = ("location", "kind", "label", "options")
            kwargs["initial"] = [
                model_to_dict(source, names) | {"location": _without_secrets(source.location)}
                for source in like.sources.order_by("id")
            ]
        return kwargs

    def like_of(self, request: HttpRequest) -> CrawlJob | None:
        """Return the job whose values a new one begins with, if the user may see it."""
        key = request.GET.get("like", "")
        if not (key.isascii() and key.isdecimal() and self.has_view_permission(request)):
            return None
        return self.get_queryset(request).filter(pk=int(key[:9])).first()

    def get_readonly_fields(self, request: HttpRequest, obj: CrawlJob | None = None) -> list[str]:
        if obj is None:
            return []
        ended = [] if obj.is_open else sorted(lifecycle.WHILE_OPEN)
        return ["project", "max_images", "chunk_size", "created_at", *ended]

    def save_model(self, request: HttpRequest, obj: CrawlJob, form: Any, change: bool) -> None:
        if change:
            lifecycle.change_job(
                job_id=obj.pk, changes=form.changes, shown=form.was, actor=actor_of(request)
            )

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Create the job with its sources, or add sources to it."""
        specs = [spec for formset in formsets for spec in formset.specs()]
        actor = actor_of(request)
        if change:
            accepting.add_sources(job_id=form.instance.pk, source_specs=specs, actor=actor)
            return
        project = form.cleaned_data["project"]
        job = accepting.create_crawl_job(
            **form.cleaned_data,
            owner=project.owner if project else owner_of_new_work(request),
            source_specs=specs,
            actor=actor,
        )
        copy_row(job, form.instance)
        if not job.total_chunks:
            messages.info(request, "It has many chunks: a worker splits it, which takes a moment.")

    def response_add(
        self, request: HttpRequest, obj: CrawlJob, post_url_continue: str | None = None
    ) -> HttpResponse:
        response = super().response_add(request, obj, post_url_continue)
        page = page_url("crawler_crawljob_change", obj.pk)
        if "_addanother" in request.POST or "_popup" in request.POST or not page:
            return response
        return HttpResponseRedirect(page)

    # The page of a job

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.export)
        return [
            path("<int:pk>/export/", view, name="crawler_crawljob_export"),
            *super().get_urls(),
        ]

    def export(self, request: HttpRequest, pk: int) -> FileResponse:
        """Return the newest export of a job, if it was made on this machine."""
        job = self.get_object(request, str(pk))
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        found = newest_export(pk) if job else None
        if found is None or not found.is_here:
            raise Http404
        response = FileResponse(found.path.open("rb"), as_attachment=True, filename=found.path.name)
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def live_context(self, request: HttpRequest, obj: CrawlJob) -> dict[str, Any]:
        return overview(
            obj,
            may_act=self.has_change_permission(request, obj),
            may_add=self.has_add_permission(request),
        )

    def is_live(self, obj: CrawlJob) -> bool:
        return is_live(obj)

    def tab_title(self, obj: CrawlJob) -> str:
        return f"Crawl job {obj.pk} {obj.status_words}, {obj.progress} %: {obj.name}"

    # Actions

    pause = _action("Pause", lifecycle.pause_job, "paused")
    resume = _action("Resume", lifecycle.resume_job, "resumed")
    cancel = _action("Cancel", lifecycle.cancel_job, "cancelled")
    retry = _action(
        "Retry: failed, short and cancelled chunks, and what failed for now",
        lifecycle.retry_job,
        "being tried again",
    )

    @admin.action(description="Repeat: a new job that asks for the same", permissions=["add"])
    def repeat(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        if not self.has_add_permission(request):  # the button asks for "change" only
            raise PermissionDenied

        def repeat(*, job_id: int, actor: Profile | None) -> None:
            job = lifecycle.repeat_job(job_id=job_id, actor=actor)
            name = linked(f"Crawl job {job.pk}", page_url("crawler_crawljob_change", job.pk))
            messages.info(request, format_html("{} asks for the same.", name))

        _each(request, queryset, repeat, "repeated")

    @admin.action(description="Change priority", permissions=["change"])
    def change_priority(self, request: HttpRequest, queryset: QuerySet[CrawlJob]) -> None:
        priority = chosen_priority(request)
        if priority is not None:
            act = partial(lifecycle.change_priority, priority=priority)
            _each(request, queryset, act, f"now with priority {priority}")
