"""Provider accounts and submissions in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import PROTECT, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from accounts.admin import RecordAdmin
from pixsim.core.admin.paging import KeysetAdmin
from providers.models import AccountStatus, ProviderAccount, ProviderCredit, ProviderSubmission

CREDENTIALS = ["password", "jwt_token", "api_key", "api_key_paid", "cookies"]


class SecretInput(forms.PasswordInput):
    """Takes a secret and never renders one, not even after a mistake elsewhere in the form."""

    def __init__(self) -> None:
        super().__init__(render_value=False, attrs={"autocomplete": "new-password", "size": 60})


class ProviderAccountForm(forms.ModelForm):
    """An account with inputs for new secrets; those that are stored never reach the form."""

    new_password = forms.CharField(required=False, strip=False, widget=SecretInput)
    new_jwt_token = forms.CharField(required=False, label="New JWT token", widget=SecretInput)
    new_api_key = forms.CharField(required=False, label="New API key", widget=SecretInput)
    new_api_key_paid = forms.CharField(required=False, label="New paid API key", widget=SecretInput)
    new_cookies = forms.JSONField(
        required=False, help_text="A JSON object: names and values.", widget=SecretInput
    )
    forget = forms.MultipleChoiceField(
        required=False,
        choices=[(name, name) for name in CREDENTIALS],
        widget=forms.CheckboxSelectMultiple,
        help_text="Secrets to delete.",
    )

    class Meta:
        model = ProviderAccount
        exclude: list[str] = []

    @sensitive_variables()
    def clean_new_cookies(self) -> Any:
        cookies = self.cleaned_data["new_cookies"]
        if cookies is not None and not isinstance(cookies, dict):
            raise forms.ValidationError("Cookies must be a JSON object of names and values.")
        return cookies

    @sensitive_variables()
    def save(self, commit: bool = True) -> Any:
        for name in self.cleaned_data["forget"]:
            setattr(self.instance, name, None)
        for name in CREDENTIALS:
            if secret := self.cleaned_data[f"new_{name}"]:
                setattr(self.instance, name, secret)
        return super().save(commit)


class ProviderFilter(admin.SimpleListFilter):
    """Providers that have an account: few rows, where DISTINCT over the big tables is slow."""

    title = "provider"
    parameter_name = "provider_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        providers = ProviderAccount.objects.order_by("provider_id").values_list(
            "provider_id", flat=True
        )
        return [(provider, provider) for provider in providers.distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider_id=self.value()) if self.value() else queryset


class CreditInline(admin.TabularInline):
    model = ProviderCredit
    extra = 0


@admin.register(ProviderAccount)
class ProviderAccountAdmin(admin.ModelAdmin):
    """Secrets can be set, replaced and forgotten here, never read."""

    form = ProviderAccountForm
    list_display = [
        "__str__",
        "provider_id",
        "status",
        "user",
        "priority",
        "max_concurrent_jobs",
        "failure_streak",
        "success_rate",
        "cooldown_until",
        "last_used",
    ]
    list_filter = ["status", "is_private", ProviderFilter]
    list_select_related = ["user"]
    search_fields = ["email", "nickname", "provider_user_id"]
    ordering = ["provider_id", "id"]
    raw_id_fields = ["user"]
    readonly_fields = [
        "secrets",
        "total_videos_generated",
        "total_videos_failed",
        "failure_streak",
        "success_rate",
        "avg_generation_time_sec",
        "ema_generation_time_sec",
        "videos_today",
        "last_used",
        "last_error",
        "created_at",
        "updated_at",
    ]
    inlines = [CreditInline]
    actions = ["disable", "activate"]

    @admin.display(description="stored secrets")
    def secrets(self, account: ProviderAccount) -> str:
        return ", ".join(account.stored_credentials) or "none"

    @admin.action(description="Disable the selected accounts")
    def disable(self, request: HttpRequest, queryset: QuerySet[ProviderAccount]) -> None:
        self._set_status(request, queryset, AccountStatus.DISABLED)

    @admin.action(description="Activate the selected accounts")
    def activate(self, request: HttpRequest, queryset: QuerySet[ProviderAccount]) -> None:
        self._set_status(request, queryset, AccountStatus.ACTIVE)

    @method_decorator(sensitive_post_parameters())
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Refuse accounts with history, without loading that history (maybe a million rows)."""
        protected = [message for account in objs for message in _history(account)]
        if protected:
            return [], {}, set(), protected
        return super().get_deleted_objects(objs, request)

    def _set_status(
        self, request: HttpRequest, queryset: QuerySet[ProviderAccount], status: AccountStatus
    ) -> None:
        changed = queryset.exclude(status=status).update(status=status, updated_at=timezone.now())
        self.message_user(request, f"{changed} accounts are now {status.label}.")


def _history(account: ProviderAccount) -> list[str]:
    """Return a message for every kind of row that keeps `account` from being deleted."""
    return [
        f"{account} has {relation.related_model._meta.verbose_name_plural}, and what it made must "
        "keep its maker. Set the account's status to disabled instead."
        for relation in ProviderAccount._meta.related_objects
        if relation.on_delete is PROTECT
        and relation.related_model._base_manager.filter(**{relation.field.name: account}).exists()
    ]


@admin.register(ProviderSubmission)
class ProviderSubmissionAdmin(KeysetAdmin, RecordAdmin):
    list_display = [
        "id",
        "submitted_at",
        "job_id",
        "retry_attempt",
        "provider_id",
        "account",
        "account_source",
        "status",
        "provider_job_id",
        "duration_ms",
    ]
    list_filter = ["status", "account_source", ProviderFilter]
    list_select_related = ["account"]
    search_fields = ["provider_job_id__exact"]
    search_help_text = "A job's number, or the provider's own id of it."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ProviderSubmission], search_term: str
    ) -> tuple[QuerySet[ProviderSubmission], bool]:
        term = search_term.strip()
        found = Q(provider_job_id=term)
        if term.isdecimal():
            found |= Q(job_id=int(term))
        return (queryset.filter(found) if term else queryset), False
