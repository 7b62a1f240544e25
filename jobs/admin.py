"""Generations in the admin: what was asked for and what came of it, to read; held jobs are released."""

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin import RecordAdmin
from accounts.errors import AccountsError
from jobs import services
from jobs.errors import GenerationError
from jobs.models import Asset, Job, JobStatus, Workspace
from pixsim.core.admin.paging import KeysetAdmin
from providers.admin import ProviderFilter

MAX_STEERED = 1000
"""Jobs that one action steers."""


@admin.register(Job)
class JobAdmin(KeysetAdmin, RecordAdmin):
    list_display = [
        "id",
        "name",
        "operation_type",
        "provider_id",
        "status",
        "held",
        "priority",
        "user",
        "retry_count",
        "created_at",
        "completed_at",
    ]
    list_filter = ["status", "held", "operation_type", ProviderFilter]
    search_fields = ["user__username__exact"]
    search_help_text = "A user's name."
    actions = ["release", "retry", "cancel"]

    @admin.action(description="Release adopted jobs", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Let jobs run that an older system left pending: from here on they may cost money."""
        # A plain list of keys: what a search joins cannot be updated.
        held = Job.objects.filter(pk__in=queryset.values("pk"), held=True, params_hash__isnull=True)
        released = held.filter(status=JobStatus.PENDING).update(held=False)
        self.message_user(request, f"{released} released, the others were not held.")

    @admin.action(description="Retry failed jobs", permissions=["release"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Start failed and cancelled jobs anew, also those that an older system left in processing."""
        self._each(request, queryset, services.retry_job, "started anew")

    @admin.action(description="Cancel jobs", permissions=["release"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Stop jobs, also at the provider where it can be; their credits come back."""
        self._each(request, queryset, services.cancel_job, "cancelled")

    def _each(
        self, request: HttpRequest, queryset: QuerySet[Job], steer: Callable[..., None], done: str
    ) -> None:
        """Steer job by job, and say of those that cannot be steered why."""
        count = 0
        for job in Job.objects.filter(pk__in=queryset.values("pk")).order_by("pk")[:MAX_STEERED]:
            try:
                steer(job=job, actor=getattr(request.user, "profile", None))
            except (GenerationError, AccountsError) as error:
                self.message_user(request, f"Job {job.pk}: {error}", messages.WARNING)
            else:
                count += 1
        self.message_user(request, f"{count} {done}.")

    def has_release_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_job")


@admin.register(Workspace)
class WorkspaceAdmin(RecordAdmin):
    list_display = ["id", "name", "user", "is_archived", "is_public", "last_activity_at"]
    list_filter = ["is_archived"]
    search_fields = ["name", "user__username__exact"]
    ordering = ["-id"]


@admin.register(Asset)
class AssetAdmin(KeysetAdmin, RecordAdmin):
    list_display = [
        "id",
        "media_type",
        "provider_id",
        "user",
        "sync_status",
        "file_size_bytes",
        "created_at",
    ]
    list_filter = ["media_type", "sync_status", "content_domain", ProviderFilter]
    search_fields = ["sha256__exact", "provider_asset_id__exact"]
    search_help_text = "The file's sha256, or the provider's id of it."
