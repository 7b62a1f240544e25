"""People and their records in the admin.

Tables of the older system that no code uses yet (API keys and notifications) are not shown, and the
notification preferences cannot be edited: what is entered there would do nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import activity, credits
from accounts.log_in import LogInForm
from accounts.models import (
    ActivityLog,
    CreditAccount,
    CreditTransaction,
    NotificationPreferences,
    Profile,
    TierName,
    UsageMetrics,
)
from accounts.services import change_tier, create_profile_for_user
from accounts.tiers import tier_of
from accounts.visibility import OTHERS_WORK, SYSTEM_WORK
from pixsim.core.admin.base import RECORDERS, ModelAdmin
from pixsim.core.admin.display import shortened
from pixsim.core.admin.lists import column
from pixsim.core.admin.owned import OwnedAdmin


@dataclass(frozen=True)
class ProfileColumn:
    """A column that another app adds to the list of profiles, such as work in the window.

    `values` takes the ids of one page and returns their texts with one query.
    """

    name: str
    title: str
    values: Callable[[Sequence[UUID]], Mapping[UUID, str]]


PROFILE_COLUMNS: list[ProfileColumn] = []
PROFILE_FILTERS: list[type[admin.SimpleListFilter]] = []
"""Filters that another app adds to the list of profiles."""


def actor_of(request: HttpRequest) -> Profile | None:
    """Return the profile of the person who sends the request, for the activity log."""
    return getattr(request.user, "profile", None)


def owner_of_new_work(request: HttpRequest) -> Profile | None:
    """Return whose work a form makes that names no owner: the system's, for who may do its work.

    Everybody else's is their own, within the limits of their tier.
    """
    if request.user.has_perm(SYSTEM_WORK):
        return None
    return create_profile_for_user(user=request.user)  # type: ignore[arg-type]


def own_or_systems(request: HttpRequest, field: Any) -> Any:
    """Return the form's field of an owner; who may not do the system's work must name a person."""
    if not request.user.has_perm(SYSTEM_WORK):
        field.required = True
        field.empty_label = None
        own: Any = request.user
        is_profile = field.queryset.model is Profile
        field.initial = create_profile_for_user(user=own).pk if is_profile else own.pk
        field.help_text = "Whose limits count."
    return field


def _record(request: HttpRequest, obj: Any, what: str, message: Any) -> None:
    """Write into the activity log what Django's admin has done by itself."""
    changes = message if isinstance(message, list) else []
    fields = [name for change in changes for name in change.get("changed", {}).get("fields", [])]
    about = {"fields": fields} if fields else {"name": str(obj)[:200]}
    kind = activity.resource_type_of(type(obj))
    activity.record_change(kind, obj.pk, what, actor=actor_of(request), in_history=False, **about)


RECORDERS.append(_record)


def owner_and_tier(owner: Profile | None) -> SafeString:
    """Return a cell with the owner of a row and the owner's tier."""
    if owner is None:
        return format_html('<span class="px-quiet-text">{}</span>', "system")
    return format_html(
        '<span class="px-nowrap">{} <span class="px-tier">{}</span></span>',
        shortened(owner.email, 40),
        owner.user_tier,
    )


class ProfileChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        profiles = list(self.result_list)
        for added in PROFILE_COLUMNS:
            values = added.values([profile.pk for profile in profiles])
            for profile in profiles:
                setattr(profile, f"column_{added.name}", values.get(profile.pk, ""))
        self.result_list = profiles


def _limits(profile: Profile) -> str:
    tier = tier_of(profile)
    return (
        f"{', '.join(sorted(tier.features))}; "
        f"{tier.concurrent_jobs} jobs at once, {tier.jobs_per_day} a day, "
        f"{tier.images_per_job} images each, {tier.projects} projects, "
        f"priority up to {tier.highest_priority}"
    )


def _preferences(profile: Profile) -> str:
    row = profile.notification_preferences.first()
    if row is None:
        return "none yet: a profile that was made with SQL gets them when its log-in is used"
    names = [
        field.name.removesuffix("_enabled").replace("_", " ")
        for field in NotificationPreferences._meta.fields
        if field.name.endswith("_enabled") and getattr(row, field.name)
    ]
    quiet = f"; quiet from {row.quiet_hours_start} to {row.quiet_hours_end}"
    return (
        f"{', '.join(names) or 'nothing'}; digest {row.get_digest_frequency_display()}"
        f"{quiet if row.quiet_hours_start and row.quiet_hours_end else ''}. Nothing is sent yet."
    )


admin.site.login_form = LogInForm
# Importing Django's admin of these two has registered it.
admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(ModelAdmin, auth_admin.UserAdmin):  # type: ignore[type-arg]
    """Django's own, on our ModelAdmin."""

    # Written by each log-in, so no values of a form.
    readonly_fields = ["last_login", "date_joined"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return what Django's form asks for when it is opened."""
        return super().has_add_permission(request) and self.has_change_permission(request)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Leave out the password, which has a link to its form, for who may not change it."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (title, {**about, "fields": [name for name in about["fields"] if name != "password"]})
            for title, about in fieldsets
        ]


@admin.register(Group)
class GroupAdmin(ModelAdmin, auth_admin.GroupAdmin):
    """Django's own, on our ModelAdmin."""


@admin.register(Profile)
class ProfileAdmin(OwnedAdmin):
    """Profiles follow their log-in; only tier and picture are edited here."""

    is_recorded = True
    change_list_template = "admin/wide_change_list.html"
    list_display = ["email", "name", "user_tier", "window", "log_in", "created_at"]
    list_filter = ["user_tier"]
    list_select_related = ["user"]
    search_fields = ["email", "full_name"]
    ordering = ["email"]
    show_full_result_count = False
    fields: ClassVar[Any] = [
        "email",
        "full_name",
        "user",
        "role",
        "user_tier",
        "window",
        "limits",
        "preferences",
        "avatar_url",
        "created_at",
        "updated_at",
    ]
    readonly_fields = [name for name in fields if name not in ("user_tier", "avatar_url")]
    name = column(
        "full name", lambda profile: shortened(profile.full_name, 40), ordering="full_name"
    )
    log_in = column("user", lambda profile: shortened(str(profile.user or ""), 40), ordering="user")
    window = column("window", lambda profile: tier_of(profile).window)
    limits = column("may do", _limits)
    preferences = column("notifications", _preferences)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [*self.list_display, *map(_shown, PROFILE_COLUMNS)]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*self.list_filter, *PROFILE_FILTERS]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ProfileChangeList

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = {**super().get_actions(request)}
        if self.has_change_permission(request):
            for tier in TierName.values:
                name = f"change_tier_to_{tier.lower()}"
                actions[name] = (_tier_action(tier), name, f"Change tier to {tier}")
        return actions

    def save_model(self, request: HttpRequest, obj: Profile, form: Any, change: bool) -> None:
        if "user_tier" in form.changed_data:
            change_tier(profile=obj, tier=obj.user_tier, actor=actor_of(request))
        if "avatar_url" in form.changed_data:
            obj.save(update_fields=["avatar_url", "updated_at"])
            activity.record_change(
                "profile", obj.pk, "changed", actor=actor_of(request), fields=["avatar_url"]
            )

    def has_change_permission(self, request: HttpRequest, obj: Profile | None = None) -> bool:
        """Return False for who may work on their own rows only: limits hold for them, too."""
        return request.user.has_perm(OTHERS_WORK) and super().has_change_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Profile | None = None) -> bool:
        return False


def _shown(added: ProfileColumn) -> Callable[[Profile], str]:
    def show(profile: Profile) -> str:
        return str(getattr(profile, f"column_{added.name}"))

    show.__name__ = added.name
    return admin.display(description=added.title)(show)


def _tier_action(tier: str) -> Callable[[ProfileAdmin, HttpRequest, QuerySet[Profile]], None]:
    def act(model_admin: ProfileAdmin, request: HttpRequest, queryset: QuerySet[Profile]) -> None:
        actor = actor_of(request)
        changed = sum(change_tier(profile=profile, tier=tier, actor=actor) for profile in queryset)
        model_admin.message_user(
            request, f"{changed} changed to {tier}, {len(queryset) - changed} had it already."
        )

    return act


class RecordAdmin(ModelAdmin):
    """Rows that the system writes and people only read."""

    list_select_related = ["user"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ActivityLog)
class ActivityLogAdmin(OwnedAdmin, RecordAdmin):
    list_display = ["timestamp", "user", "action", "resource_type", "resource_id", "metadata"]
    search_fields = ["=resource_id", "=request_id", "=action", "user__email"]
    ordering = ["-id"]


def _credits(help_text: str) -> forms.IntegerField:
    return forms.IntegerField(min_value=1, max_value=2**31 - 1, help_text=help_text)


class CreditTermsForm(forms.ModelForm):  # type: ignore[type-arg]
    monthly_limit = _credits("A hold that would bring the month's use above it is refused (UTC).")
    refill_threshold = _credits("A balance that falls below it is refilled, if that is enabled.")
    refill_amount = _credits("So much is granted each time the balance falls below the threshold.")

    class Meta:
        model = CreditAccount
        fields = credits.TERMS


@admin.register(CreditAccount)
class CreditAccountAdmin(OwnedAdmin, RecordAdmin):
    """Balances; people change the terms. `average_daily_usage` is not shown: see the model."""

    is_recorded = True
    form = CreditTermsForm
    list_display = ["user", "current_balance", "used", "monthly_limit", "a_day", "refill"]
    list_filter = ["auto_refill_enabled"]
    search_fields = ["user__email"]
    readonly_fields = ["user", "current_balance", "used", "a_day", "created_at", "updated_at"]
    fields = [
        "user",
        "current_balance",
        "used",
        "a_day",
        *credits.TERMS,
        "created_at",
        "updated_at",
    ]
    used = column("used or held this month", lambda account: account.used_this_month)
    a_day = column("used a day, this month", lambda account: f"{account.used_a_day:,.1f}")
    refill = column(
        "refill",
        lambda account: (
            f"{account.refill_amount} below {account.refill_threshold}"
            if account.auto_refill_enabled
            else "off"
        ),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_change = admin.ModelAdmin.has_change_permission(self, request, obj)
        return request.user.has_perm(OTHERS_WORK) and may_change

    def save_model(self, request: HttpRequest, obj: CreditAccount, form: Any, change: bool) -> None:
        if terms := {name: form.cleaned_data[name] for name in form.changed_data}:
            credits.change_terms(account=obj, actor=actor_of(request), **terms)


@admin.register(CreditTransaction)
class CreditTransactionAdmin(OwnedAdmin, RecordAdmin):
    list_display = ["created_at", "user", "type", "amount", "balance_after", "status"]
    list_filter = ["type", "status"]
    search_fields = ["user__email"]
    ordering = ["-created_at", "-id"]


@admin.register(UsageMetrics)
class UsageMetricsAdmin(OwnedAdmin, RecordAdmin):
    """Use by the day. The older schema's limits are not shown: the tier says what one may do."""

    exclude = ["images_limit", "storage_limit_gb", "api_calls_limit", "bandwidth_limit_gb"]
    list_display = ["metric_date", "user", "images_processed", "storage_used_gb", "api_calls"]
    search_fields = ["user__email"]
    ordering = ["-metric_date", "-id"]
