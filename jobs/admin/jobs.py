"""Generations in the admin: asked for in a form, watched on a page of their own, and steered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin import RecordAdmin
from accounts.errors import AccountsError
from accounts.models import Profile
from jobs import pricing, services
from jobs.admin import adding
from jobs.admin.assets import file_url
from jobs.admin.timeline import is_live, state_of, story, took
from jobs.errors import GenerationError, WrongState
from jobs.models import Job, JobStatus
from jobs.queue import admission
from jobs.queue.kinds import kind_named
from jobs.queue.worker import notify
from pixsim.core.admin.display import age, shortened
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.blobs.keys import is_key
from pixsim.core.priority import PRIORITIES, priority_of
from providers.admin import ProviderFilter

MAX_STEERED = 1000
"""Jobs that one action steers."""
LONGEST_NUMBER = 9
"""A search for more digits is no job's number."""

Steer = Callable[..., None]


class PriorityActionForm(ActionForm):
    """The choice of an action, and the priority that "Change priority" sets."""

    priority = forms.TypedChoiceField(
        choices=[("", "priority"), *((n, n) for n in PRIORITIES)],
        coerce=int,
        empty_value=None,
        required=False,
        label="",
    )


class UndecidedFilter(admin.SimpleListFilter):
    """Failed jobs of which somebody must decide if they were charged."""

    title = "cost"
    parameter_name = "cost"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(pricing.UNRESOLVED, "to be settled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        if self.value() != pricing.UNRESOLVED:
            return queryset
        # The status has an index, the error class has none.
        return queryset.filter(status=JobStatus.FAILED, error_class=pricing.UNRESOLVED)


@admin.register(Job)
class JobAdmin(KeysetAdmin, RecordAdmin):
    change_list_template = "admin/jobs/job/change_list.html"
    action_form = PriorityActionForm
    actions = ["release", "retry", "cancel", "change_priority", "settle_charged", "settle_released"]
    list_display = [
        "made",
        "job",
        "operation_type",
        "provider_id",
        "state",
        "problem",
        "priority",
        "whose",
        "length",
        "age",
    ]
    list_display_links = ["made", "job"]
    list_filter = ["status", "held", "operation_type", ProviderFilter, UndecidedFilter]
    list_select_related = ["user", "owner", "asset"]
    list_per_page = 50
    search_fields = ["user__username__exact"]
    search_help_text = "A job's number, or a user's name."
    fieldsets = [
        (
            "Record",
            {
                "classes": ["collapse"],
                "fields": [
                    "name",
                    "description",
                    "workspace",
                    "scheduled_at",
                    "available_at",
                    "started_at",
                    "completed_at",
                    "retry_count",
                    "idempotency_key",
                    "params_hash",
                    "params_source",
                    "task_id",
                ],
            },
        )
    ]

    # Columns

    @admin.display(description="made")
    def made(self, job: Job) -> SafeString | str:
        asset = job.asset
        if asset is None:
            return "-"
        if not asset.thumbnail_url or not is_key(asset.thumbnail_url):
            return asset.media_type
        return format_html(
            '<img class="px-thumb px-thumb-small" src="{}" alt="" loading="lazy">',
            file_url(asset, "thumbnail"),
        )

    @admin.display(description="job")
    def job(self, job: Job) -> SafeString:
        words = job.name or str(job.params.get("prompt") or job.params.get("title") or "")
        return format_html(
            '<span class="px-quiet-text">#{}</span> {}', job.pk, shortened(words, 60)
        )

    @admin.display(description="status")
    def state(self, job: Job) -> SafeString:
        return state_of(job)

    @admin.display(description="problem")
    def problem(self, job: Job) -> SafeString | str:
        if job.status in (JobStatus.COMPLETED, JobStatus.CANCELLED) or not job.error_message:
            return ""
        if not job.error_class:
            return shortened(job.error_message, 60)
        return format_html(
            '<span class="px-tier">{}</span> {}',
            job.error_class,
            shortened(job.error_message, 60),
        )

    @admin.display(description="owner and tier")
    def whose(self, job: Job) -> SafeString:
        if job.owner is None:
            return format_html('<span class="px-quiet-text">{}</span>', str(job.user))
        return format_html(
            '<span class="px-nowrap">{} <span class="px-tier">{}</span></span>',
            shortened(job.owner.email, 40),
            job.owner.user_tier,
        )

    @admin.display(description="took")
    def length(self, job: Job) -> str:
        return took(job)

    @admin.display(description="age")
    def age(self, job: Job) -> SafeString | str:
        return age(job.created_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(user__username=term)
        if term.isascii() and term.isdecimal() and len(term) <= LONGEST_NUMBER:
            found |= Q(pk=int(term))
        return queryset.filter(found), False

    # Asking

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.add_job")

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """First what is asked for is chosen, then its parameters are asked for."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        like = adding.like_of(request)
        choice = adding.chosen(request.GET) or (adding.choice_of(like) if like else None)
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "opts": self.opts,
            "title": "Ask for a generation",
        }
        if choice is None:
            context["providers"] = adding.all_choices()
            return render(request, "admin/jobs/job/choose.html", context)
        data = request.POST if request.method == "POST" else None
        asking = adding.Asking(choice, data=data, files=request.FILES, like=like)
        job = asking.create() if data is not None else None
        if job is None:
            context |= asking.context(self)
            return render(request, "admin/jobs/job/ask.html", context)
        self.log_addition(request, job, f"Asked for in the form: {choice.label}.")
        messages.success(request, f"Job {job.pk} is asked for. Its page follows it.")
        if "_addanother" in request.POST:
            return HttpResponseRedirect(choice.url)
        return HttpResponseRedirect(_url(job.pk))

    # The page of a job

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<int:job_id>/story/", view(self.story), name="jobs_job_story"),
            path("<int:job_id>/steer/<str:verb>/", view(self.steer), name="jobs_job_steer"),
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
        extra: dict[str, Any] = {"title": "Generation", "subtitle": None}
        if job and self.has_view_permission(request, job):
            extra |= self._story(request, job)
            extra["is_live"] = is_live(job)
            extra["is_open"] = job.status in (JobStatus.PENDING, JobStatus.PROCESSING)
            extra["priorities"] = PRIORITIES
            extra["may_steer"] = self.has_release_permission(request)
            extra["may_add"] = self.has_add_permission(request)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def story(self, request: HttpRequest, job_id: int) -> JsonResponse:
        """The live part of a job's page: its HTML, and whether it will change any more."""
        job = get_object_or_404(Job.objects.select_related("owner", "asset", "user"), pk=job_id)
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        # Before the story: what ends in between is shown by the next answer.
        live = is_live(job)
        html = render_to_string("admin/jobs/job/story.html", self._story(request, job), request)
        return JsonResponse({"html": html, "live": live})

    @method_decorator(require_POST)
    def steer(self, request: HttpRequest, job_id: int, verb: str) -> HttpResponse:
        """What the buttons of a job's page do."""
        if not self.has_release_permission(request):
            raise PermissionDenied
        jobs = Job.objects.filter(pk=job_id)
        steps: dict[str, Callable[[], None]] = {
            "cancel": lambda: self.cancel(request, jobs),
            "retry": lambda: self.retry(request, jobs),
            "release": lambda: self.release(request, jobs),
            "charge": lambda: self.settle_charged(request, jobs),
            "waive": lambda: self.settle_released(request, jobs),
            "priority": lambda: self.change_priority(request, jobs),
        }
        if verb not in steps:
            raise PermissionDenied
        steps[verb]()
        return HttpResponseRedirect(_url(job_id))

    def _story(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        return story(
            job,
            may_steer=self.has_release_permission(request),
            may_see_assets=request.user.has_perm("jobs.view_asset"),
        )

    # Actions

    @admin.action(description="Release adopted jobs", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Let jobs run that an older system left pending: from here on they may cost money."""
        # A plain list of keys: what a search joins cannot be updated.
        held = Job.objects.filter(pk__in=queryset.values("pk"), held=True, params_hash__isnull=True)
        released = held.filter(status=JobStatus.PENDING).update(held=False)
        if released:
            admission.adopt(kind_named("generation"))
            notify.ring()
        self.message_user(request, f"{released} released, the others were not held.")

    @admin.action(description="Retry failed jobs", permissions=["release"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Start failed and cancelled jobs anew, also those that an older system left in processing."""
        self._each(request, queryset, services.retry_job, "started anew")

    @admin.action(description="Cancel jobs", permissions=["release"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Stop jobs, also at the provider where it can be; their credits come back."""
        self._each(request, queryset, services.cancel_job, "cancelled")

    @admin.action(description="Change priority", permissions=["release"])
    def change_priority(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Make unfinished jobs more or less urgent, as far as their owners' tiers allow."""
        priority = priority_of(request.POST.get("priority", ""))
        if priority is None:
            messages.error(request, "Choose the priority beside the action.")
            return
        steer = partial(services.change_priority, priority=priority)
        self._each(request, queryset, steer, f"now with priority {priority}")

    @admin.action(description="Settle: it was charged, take the credits", permissions=["release"])
    def settle_charged(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Decide that jobs which may have been charged were: what is held for them is taken."""
        self._each(
            request, queryset, partial(services.resolve_charge, charge=True), "settled: charged"
        )

    @admin.action(
        description="Settle: it was not charged, give the credits back", permissions=["release"]
    )
    def settle_released(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Decide that jobs which may have been charged were not: their credits come back."""
        steer = partial(services.resolve_charge, charge=False)
        self._each(request, queryset, steer, "settled: not charged")

    def _each(self, request: HttpRequest, queryset: QuerySet[Job], steer: Steer, done: str) -> None:
        """Steer job by job, and say of those that cannot be steered why."""
        count = 0
        chosen = Job.objects.filter(pk__in=queryset.values("pk")).select_related("owner")
        actor: Profile | None = getattr(request.user, "profile", None)
        for job in chosen.order_by("pk")[:MAX_STEERED]:
            try:
                steer(job=job, actor=actor)
            except (GenerationError, AccountsError) as error:
                words = str(error) if isinstance(error, WrongState) else f"Job {job.pk}: {error}"
                self.message_user(request, words, messages.WARNING)
            else:
                count += 1
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)

    def has_release_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_job")


def _url(job_id: int) -> str:
    return reverse("admin:jobs_job_change", args=[job_id])
