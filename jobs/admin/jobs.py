"""Generations in the admin: added with a form, followed on a page of their own, cancelled and retried."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from accounts.admin import RecordAdmin, actor_of, owner_and_tier
from accounts.errors import AccountsError
from jobs import pricing, services
from jobs.admin import adding
from jobs.admin.assets import thumbnail
from jobs.admin.filters import ErrorClassFilter, OwnerTierFilter, QueueStateFilter
from jobs.admin.timeline import context_of, is_held, is_live, state_of, took
from jobs.errors import GenerationError, GenerationRefused
from jobs.models import OPEN, Job, JobStatus
from jobs.queue.items import RETRY_COUNT_HELP
from pixsim.core.admin.actions import PriorityActionForm, act_on_each, chosen_priority
from pixsim.core.admin.display import age, shortened
from pixsim.core.admin.links import row_url
from pixsim.core.admin.lists import ConditionFilter, column
from pixsim.core.admin.live import LivePageAdmin
from pixsim.core.admin.owned import OwnedAdmin
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.priority import PRIORITIES
from providers.admin import ProviderFilter
from providers.models import ProviderSubmission


class JobStateFilter(QueueStateFilter):
    # What waits for its provider has no lease, but a submission that is followed.
    conditions = {
        **QueueStateFilter.conditions,
        "stuck": (
            "stuck: its lease has expired",
            Q(status=JobStatus.PROCESSING)
            & (Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now()))
            & ~Q(
                Exists(
                    ProviderSubmission.objects.filter(
                        Q(status__in=["pending", "accepted", "unknown"])
                        | Q(next_poll_at__isnull=False),
                        job=OuterRef("pk"),
                        reference__isnull=False,
                    )
                )
            ),
        ),
    }


class JobErrorFilter(ErrorClassFilter):
    kind = "generation"


class UnresolvedFilter(ConditionFilter):
    """Failed jobs of which somebody must decide whether they were charged."""

    title = "cost"
    parameter_name = "cost"
    # The status has an index, the error class has none.
    conditions = {
        pricing.UNRESOLVED: (
            "to be resolved",
            Q(status=JobStatus.FAILED, error_class=pricing.UNRESOLVED),
        )
    }


def _job(job: Job) -> SafeString:
    words = job.name or str(job.params.get("prompt") or job.params.get("title") or "")
    text = shortened(words, 60)
    return format_html('<span class="px-quiet-text">#{}</span> {}', job.pk, text)


def _problem(job: Job) -> SafeString | str:
    if job.status in (JobStatus.COMPLETED, JobStatus.CANCELLED) or not job.error_message:
        return ""
    message = shortened(job.error_message, 60)
    if not job.error_class:
        return message
    return format_html('<span class="px-tier">{}</span> {}', job.error_class, message)


def _whose(job: Job) -> SafeString:
    if job.owner is None:
        return format_html('<span class="px-quiet-text">{}</span>', str(job.user))
    return owner_and_tier(job.owner)


def _act_on_each(
    request: HttpRequest, queryset: QuerySet[Job], act: Callable[..., None], done: str
) -> None:
    """Do the service's action to each job, and show which jobs it refused and why."""
    actor = actor_of(request)

    def act_on(job: Job) -> None:
        try:
            act(job=job, actor=actor)
        except (AccountsError, GenerationRefused) as refusal:
            raise GenerationError(f"Job {job.pk}: {refusal}") from refusal

    jobs = queryset.select_related("owner")
    act_on_each(request, jobs, act_on, done=done, refusals=(GenerationError,))


def _action(title: str, act: Callable[..., None], done: str) -> Any:
    @admin.action(description=title, permissions=["act"])
    def action(_self: Any, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        _act_on_each(request, queryset, act, done)

    return action


@admin.register(Job)
class JobAdmin(OwnedAdmin, LivePageAdmin, KeysetAdmin, RecordAdmin):
    change_list_template = "admin/jobs/job/change_list.html"
    change_form_template = "admin/jobs/job/change_form.html"
    live_template = "admin/jobs/job/timeline.html"
    action_form = PriorityActionForm
    buttons = (
        "resume",
        "retry",
        "cancel",
        "change_priority",
        "resolve_charged",
        "resolve_released",
    )
    actions = [*buttons]
    batched = ["retry", "cancel", "change_priority", "resolve_charged", "resolve_released"]
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
    link_lookups = ["held__exact"]  # addresses from before the filter by the queue's state
    list_filter = [
        "status",
        JobStateFilter,
        "operation_type",
        ProviderFilter,
        OwnerTierFilter,
        UnresolvedFilter,
        JobErrorFilter,
    ]
    list_select_related = ["user", "owner", "asset"]
    list_per_page = 50
    search_fields = ["pk", "user__username"]
    search_number = "pk"
    search_help_text = "A job's number, or a user's name."
    record = (
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
    )
    record_help = f"Retry count: {RETRY_COUNT_HELP}"
    fieldsets = [
        ("Record", {"classes": ["collapse"], "description": record_help, "fields": record})
    ]

    # Columns

    made = column("made", lambda job: thumbnail(job.asset) if job.asset else "-")
    job = column("job", _job)
    state = column("status", state_of)
    problem = column("problem", _problem)
    whose = column("owner and tier", _whose)
    length = column("took", took)
    age = column("age", lambda job: age(job.created_at))

    # Pages

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.add_job")

    def has_act_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return request.user.has_perm("jobs.change_job")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Let the user choose a provider and an operation first, then fill in the parameters."""
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
        forms = adding.JobForms(choice, request, data=data, like=like)
        job = forms.create(actor=actor_of(request)) if data is not None else None
        if job is None:
            context |= forms.context(self)
            return render(request, "admin/jobs/job/add.html", context)
        messages.success(request, f"Job {job.pk} is asked for.")
        is_another = "_addanother" in request.POST
        page = row_url(job) or reverse("admin:index")
        return HttpResponseRedirect(choice.url if is_another else page)

    def live_context(self, request: HttpRequest, obj: Job) -> dict[str, Any]:
        may_act = self.has_act_permission(request)
        return {
            **context_of(obj, may_act=may_act),
            "title": "Generation",
            "subtitle": None,
            "is_open": obj.status in OPEN,
            "priorities": PRIORITIES,
            "may_act": may_act,
            "may_add": self.has_add_permission(request),
        }

    def is_live(self, obj: Job) -> bool:
        return is_live(obj)

    def tab_title(self, obj: Job) -> str:
        name = obj.name or capfirst(obj.get_operation_type_display())
        return f"Job {obj.pk} {'held' if is_held(obj) else obj.status}: {name}"

    # Actions

    @admin.action(description="Resume adopted jobs", permissions=["act"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Let jobs run that an older system left pending: from here on they may cost money."""
        # A plain list of keys: what a search joins cannot be updated.
        jobs = Job.objects.filter(pk__in=queryset.values("pk"))
        count = services.resume_adopted_jobs(jobs=jobs, actor=actor_of(request))
        self.message_user(request, f"{count} resumed, the others were not held.")

    retry = _action("Retry failed jobs", services.retry_job, "started anew")
    cancel = _action("Cancel jobs", services.cancel_job, "cancelled")

    @admin.action(description="Change priority", permissions=["act"])
    def change_priority(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Change the priority of unfinished jobs, as far as their owners' tiers allow."""
        priority = chosen_priority(request)
        if priority is not None:
            change = partial(services.change_priority, priority=priority)
            _act_on_each(request, queryset, change, f"now of priority {priority}")

    resolve_charged = _action(
        "Resolve: it was charged, take the credits",
        partial(services.resolve_charge, charge=True),
        "resolved: charged",
    )
    resolve_released = _action(
        "Resolve: it was not charged, give the credits back",
        partial(services.resolve_charge, charge=False),
        "resolved: not charged",
    )
