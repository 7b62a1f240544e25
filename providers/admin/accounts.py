"""Provider accounts in the admin: their state at the moment, and actions on them."""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import PROTECT, QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from accounts.admin import actor_of, own_or_systems
from pixsim.core.admin.display import age, badge, shortened, tone_of
from pixsim.core.admin.inlines import TabularInline
from pixsim.core.admin.links import linked, row_url
from pixsim.core.admin.lists import column
from pixsim.core.admin.live import LivePageAdmin
from pixsim.core.formats import format_duration
from providers import services, slots
from providers.admin import status
from providers.admin.filters import ProviderFilter
from providers.admin.forms import CREDENTIALS, ProviderAccountForm
from providers.admin.standing import (
    cooldown_of,
    credits_of,
    health_bar,
    is_cooling,
    slot_bar,
    state_of,
)
from providers.models import AccountStatus, ModelRefusal, ProviderAccount, ProviderCredit
from providers.slots import Standing

MAX_TRIED = 10
"""Most accounts that one action tests; each may take seconds."""
MAX_CHANGED = 1000
LATEST = 15
IDENTITY = ["provider_id", "email", "nickname"]
RECORD: Any = [
    "failure_streak", "last_error", "last_used", "total_videos_generated", "total_videos_failed",
    "success_rate", "avg_generation_time_sec", "ema_generation_time_sec", "ema_alpha",
    "videos_today", "created_at", "updated_at",
]  # fmt: skip


class CreditInline(TabularInline):
    model = ProviderCredit
    extra = 0


class RefusalInline(TabularInline):
    """The models that the account may not use; deleting one tries it again."""

    model = ModelRefusal
    extra = 0
    fields = ["model", "message", "refused_at"]
    readonly_fields = ["model", "message", "refused_at"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AccountChangeList(ChangeList):
    """Add the standing to the accounts of a page, with one statement."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        accounts = list(self.result_list)
        found = slots.standings([account.pk for account in accounts])
        for account in accounts:
            account.standing = found.get(account.pk, Standing())
        self.result_list = accounts


# The buttons of an account's page, and when each is shown.
BUTTONS: dict[str, tuple[str, Callable[[ProviderAccount], bool]]] = {
    "test": ("Test", lambda account: True),
    "enable": ("Enable", lambda account: account.status != AccountStatus.ACTIVE),
    "disable": ("Disable", lambda account: account.status != AccountStatus.DISABLED),
    "clear_cooldown": ("Clear cooldown", is_cooling),
}


def _named(account: ProviderAccount) -> SafeString:
    whose = f"{account.user}, private" if account.is_private else str(account.user)
    return format_html(
        '{}{}<br><span class="px-quiet-text">{}</span>',
        account.nickname or account.email,
        format_html(' <span class="px-tier px-nowrap">{}</span>', whose) if account.user else "",
        account.email if account.nickname else f"#{account.pk}",
    )


def _state(account: ProviderAccount) -> SafeString:
    if not is_cooling(account):
        return state_of(account)
    return format_html(
        '{}<br><span class="px-quiet-text">{}</span>', state_of(account), cooldown_of(account)
    )


def _today(account: Any) -> str:
    cap = account.max_daily_videos
    return "-" if cap is None else f"{account.standing.today:,} / {cap:,}"


@admin.action(description="Test: ask the provider whether the log-in works", permissions=["change"])
def _test(model_admin: Any, request: HttpRequest, queryset: QuerySet[ProviderAccount]) -> None:
    accounts = list(queryset.order_by("pk")[: MAX_TRIED + 1])
    if len(accounts) > MAX_TRIED:
        messages.error(request, f"Select at most {MAX_TRIED} accounts at once.")
        return
    for account in accounts:
        again = " and is active again" if account.status == AccountStatus.ERROR else ""
        if problem := services.test_account(account=account, actor=actor_of(request)):
            messages.error(request, f"{account}: {problem}")
        else:
            messages.success(request, f"{account} works{again}.")


def _action(description: str, act: Callable[..., bool], done: str) -> Any:
    """Return an action that does `act` to each account."""

    @admin.action(description=description, permissions=["change"])
    def action(model_admin: Any, request: HttpRequest, queryset: QuerySet[ProviderAccount]) -> None:
        accounts = queryset.order_by("pk")[:MAX_CHANGED]
        changed = 0
        for account in accounts:
            try:
                changed += act(account=account, actor=actor_of(request))
            except services.AccountRefused as refused:
                messages.error(request, str(refused))
        verb = "1 account is" if changed == 1 else f"{changed} accounts are"
        messages.success(request, f"{verb} {done}.")

    return action


@admin.register(ProviderAccount)
class ProviderAccountAdmin(LivePageAdmin):
    """Secrets can be set, replaced and deleted here, never read."""

    form = ProviderAccountForm
    list_display = [
        "account", "provider", "state", "slots", "today", "health", "credits", "priority", "used",
        "error",
    ]  # fmt: skip
    list_filter = ["status", "is_private", ProviderFilter]
    list_select_related = ["user"]
    search_fields = ["email", "nickname", "provider_user_id"]
    sortable_by = ["account", "provider", "used"]
    show_facets = admin.ShowFacets.NEVER
    ordering = ["provider_id", "-priority", "id"]
    raw_id_fields = ["user"]
    fieldsets = [
        (None, {"fields": [*IDENTITY, ("user", "is_private"), "status", "cooldown_until"]}),
        ("Limits", {"fields": ["max_concurrent_jobs", "max_daily_videos", "priority"]}),
        ("Secrets", {"fields": ["secrets", *(f"new_{name}" for name in CREDENTIALS), "forget"]}),
        (
            "At the provider",
            {"classes": ["collapse"], "fields": ["provider_user_id", "provider_metadata"]},
        ),
        ("Record", {"classes": ["collapse"], "fields": RECORD}),
    ]
    readonly_fields = ["secrets", *RECORD]
    inlines = [CreditInline, RefusalInline]
    actions = list(BUTTONS)
    buttons = tuple(BUTTONS)
    live_seconds = 5
    live_template = "admin/providers/provideraccount/overview.html"

    account = column("account", _named, ordering="email")
    provider = column("provider", attrgetter("provider_id"), ordering="provider_id")
    state = column("state", _state)
    slots = column(
        "slots in use", lambda account: slot_bar(account.standing.used, account.max_concurrent_jobs)
    )
    today = column("of the day", _today)
    health = column("health", lambda account: health_bar(account, account.standing))
    credits = column("credits", lambda account: credits_of(account.standing))
    used = column("last used", lambda account: age(account.last_used), ordering="last_used")
    error = column("last error", lambda account: shortened(account.last_error, 50))
    secrets = column(
        "stored secrets", lambda account: ", ".join(account.stored_credentials) or "none"
    )

    test = _test
    enable = _action("Enable", services.enable_account, "active now")
    disable = _action("Disable: take no more work", services.disable_account, "disabled now")
    clear_cooldown = _action(
        "Clear the cooldown", services.clear_cooldown, "ready for work at once"
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AccountChangeList

    # Pages

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(partial(status.page, self))
        figures = self.admin_site.admin_view(partial(status.figures_only, self))
        return [
            path("status/", page, name="providers_status"),
            path("status/figures/", figures, name="providers_status_figures"),
            *super().get_urls(),
        ]

    @method_decorator(sensitive_post_parameters())
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def live_context(self, request: HttpRequest, account: ProviderAccount) -> dict[str, Any]:
        standing = slots.standings([account.pk]).get(account.pk, Standing())
        cap = account.max_daily_videos
        latest = account.submissions.defer("payload", "response", "outputs").select_related("job")
        latest = latest.order_by("-submitted_at", "-id")[:LATEST]
        return {
            "account": account,
            "state": state_of(account),
            "facts": [
                ("Slots", slot_bar(standing.used, account.max_concurrent_jobs)),
                ("Today", "no cap" if cap is None else slot_bar(standing.today, cap)),
                ("Health", health_bar(account, standing)),
                ("Cooldown", cooldown_of(account)),
                ("Credits", credits_of(standing) or "-"),
                ("Failures in a row", account.failure_streak),
                ("Last used", age(account.last_used)),
            ],
            "latest": [
                {
                    "link": linked(f"#{one.pk}", row_url(one)),
                    "job": linked(f"job {one.job_id}", row_url(one.job)),
                    "row": one,
                    "state": badge(one.get_status_display(), tone_of(one.status)),
                    "age": age(one.submitted_at),
                    "took": format_duration(
                        None if one.duration_ms is None else one.duration_ms / 1000
                    ),
                    "error": shortened(one.error_message, 100),
                }
                for one in latest
            ],
            "buttons": [
                (action, label)
                for action, (label, is_shown) in BUTTONS.items()
                if is_shown(account) and self.has_act_permission(request, account)
            ],
        }

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return own_or_systems(request, field) if db_field.name == "user" else field

    # Deleting

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Refuse accounts with submissions, without loading these (maybe a million rows)."""
        protected = [message for account in objs for message in _history(account)]
        if protected:
            return [], {}, set(), protected
        return super().get_deleted_objects(objs, request)


def _history(account: ProviderAccount) -> list[str]:
    """Return a message for every kind of row that keeps `account` from being deleted."""
    return [
        f"{account} has {relation.related_model._meta.verbose_name_plural}, and what it made must "
        "keep its maker. Set the account's status to disabled instead."
        for relation in ProviderAccount._meta.related_objects
        if relation.on_delete is PROTECT
        and relation.related_model._base_manager.filter(**{relation.field.name: account}).exists()
    ]
