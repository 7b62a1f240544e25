"""A row's page with a part that is renewed while the page is open, and buttons for actions."""

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from pixsim.core.admin.batches import BatchedAdmin
from pixsim.core.db.sql import one_moment


class LivePageAdmin(BatchedAdmin):
    """A model admin whose change page shows `live_context` and renews it (`pixsim/live.js`).

    The pages are named `<app>_<model>_live` and `<app>_<model>_act`. All figures of one answer are
    those of one moment, so no two of them disagree.
    """

    change_form_template = "admin/live_change_form.html"
    live_template: ClassVar[str]
    live_seconds: ClassVar[int] = 2
    buttons: ClassVar[tuple[str, ...]] = ()
    """The actions of the list that the page offers too."""

    def live_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return the context of `live_template`."""
        raise NotImplementedError

    def is_live(self, obj: Any) -> bool:
        """Return whether the page of `obj` will change any more."""
        return True

    def tab_title(self, obj: Any) -> str:
        """Return what the browser shows as the name of the page: the object and its state."""
        return f"{obj}: {obj.status}"

    def has_act_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether this user may press the buttons."""
        return self.has_change_permission(request, obj)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("<int:pk>/live/", view(self.live), name=f"{name}_live"),
            path("<int:pk>/act/<str:action>/", view(self.act), name=f"{name}_act"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "GET":
            extra = {**self._live_part(request, object_id), **(extra_context or {})}
            return super().change_view(request, object_id, form_url, extra)
        with one_moment():
            extra = {**self._live_part(request, object_id), **(extra_context or {})}
            response = super().change_view(request, object_id, form_url, extra)
            return response.render() if isinstance(response, TemplateResponse) else response

    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the HTML of the live part, the page's title, and whether it will change any more."""
        with one_moment():
            if not self.has_view_permission(request):
                raise PermissionDenied
            obj = self.get_object(request, str(pk))
            if obj is None:
                return HttpResponse(status=404)
            html = render_to_string(self.live_template, self.live_context(request, obj), request)
            title = f"{self.tab_title(obj)} | {self.admin_site.site_title}"
            return JsonResponse({"html": html, "title": title, "live": self.is_live(obj)})

    def _live_part(self, request: HttpRequest, object_id: str) -> dict[str, Any]:
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_view_permission(request, obj):
            return {}
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_live"
        return {
            **self.live_context(request, obj),
            "is_live": self.is_live(obj),
            "live_seconds": self.live_seconds,
            "live_template": self.live_template,
            "live_url": reverse(name, args=[obj.pk]),
            "tab_title": self.tab_title(obj),
        }

    @method_decorator(require_POST)
    def act(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Do an action of the list to this one row."""
        if action not in self.buttons or not self.has_act_permission(request):
            raise PermissionDenied
        obj = self.get_object(request, str(pk))
        if obj is None:
            raise Http404
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        page = reverse(name, args=[pk])
        if action in self.asks_first and "confirmed" not in request.POST:
            asked = {"count": str(obj), "back": page, "hidden": [("confirmed", "yes")]}
            return self.confirmation(request, action, **asked)
        getattr(self, action)(request, self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(page)
