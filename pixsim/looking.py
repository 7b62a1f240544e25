"""Looking at the admin as one owner: a switch in the session of a person of the staff.

While it is on, every list has only that owner's rows (`OwnedAdmin`), other tables are not shown, and
nothing can be changed: no permission but that to view is granted, and nothing but GET is answered.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts import activity
from accounts.admin import actor_of
from accounts.models import Profile
from accounts.visibility import OTHERS_WORK, SYSTEM_WORK
from pixsim.core.admin.owned import OwnedAdmin

SESSION_KEY = "looks_as"
MAY_BE_SENT = {"look_stop", "admin:logout"}
OF_EVERYBODY = {"status", "status_figures", "tiers"}

Answer = Callable[[HttpRequest], HttpResponse]


class LookingMiddleware:
    """Sets `request.looks_as` in the admin, and answers only what changes nothing."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        match = request.resolver_match
        if match is None or not request.path.startswith(reverse("admin:index")):
            return None
        key = request.session.get(SESSION_KEY)
        owner = key and Profile.objects.filter(pk=key).first()
        if not owner:
            return None
        vars(request)["looks_as"] = owner
        _only_views(request)
        if request.method not in ("GET", "HEAD") and match.view_name not in MAY_BE_SENT:
            return HttpResponseForbidden(
                f"You look as {owner.email}: nothing can be changed. Stop looking first.",
                content_type="text/plain",
            )
        if match.view_name in OF_EVERYBODY:
            messages.warning(request, "That page is of everybody: stop looking as one owner first.")
            return HttpResponseRedirect(reverse("admin:index"))
        return None


def _only_views(request: HttpRequest) -> None:
    """Let the user view the tables whose rows have owners, where they may, and do nothing else."""
    shown = {
        f"{model._meta.app_label}.view_{model._meta.model_name}"
        for model, model_admin in admin.site._registry.items()
        if isinstance(model_admin, OwnedAdmin)
    } | {SYSTEM_WORK, OTHERS_WORK}
    user: Any = request.user
    has_perm = user.has_perm
    user.has_perm = lambda perm, obj=None: perm in shown and has_perm(perm, obj)


@require_POST
def look(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Look as the profile from now on. It is written to the activity log."""
    if not request.user.has_perm("accounts.view_profile"):
        raise PermissionDenied
    owner = get_object_or_404(Profile.objects.visible_to(request.user), pk=pk)
    activity.record_change("profile", owner.pk, "looked_at", actor=actor_of(request))
    request.session[SESSION_KEY] = str(owner.pk)
    return HttpResponseRedirect(reverse("admin:index"))


@require_POST
def stop(request: HttpRequest) -> HttpResponse:
    """See everything again."""
    key = request.session.pop(SESSION_KEY, None)
    if key is None:
        return HttpResponseRedirect(reverse("admin:index"))
    return HttpResponseRedirect(reverse("admin:accounts_profile_change", args=[key]))
