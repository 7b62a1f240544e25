"""Actions that are confirmed first: one that cannot be taken back, or on all rows of a filter.

All rows are done in batches by key, each in a request of its own. What a batch did is kept, whatever
dies: the page can be loaded again, or the action chosen again, and goes on with the rest.
"""

from collections.abc import Collection
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from pixsim.core.admin.actions import Tally, chosen_priority, counted
from pixsim.core.admin.base import ModelAdmin

BATCH = 500
SHOWN_NAMES = 20


class BatchedAdmin(ModelAdmin):
    """A model admin whose `batched` actions may be done to all rows that match the filters."""

    batched: ClassVar[Collection[str]] = ()
    asks_first: ClassVar[Collection[str]] = ("cancel",)
    """The actions that are confirmed even if few rows are selected."""
    batch_size: ClassVar[int] = BATCH

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **options: Any
    ) -> HttpResponse | None:
        self.check_keys(request)
        name, is_all = _action_of(request), request.POST.get("select_across") == "1"
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        is_asked = name in self.batched and (is_all or name in self.asks_first)
        if not is_asked or not keys or name not in self.get_actions(request):
            return super().response_action(request, queryset, *args, **options)
        if name == "change_priority" and chosen_priority(request) is None:
            return None
        rows = queryset if is_all else queryset.filter(pk__in=keys)
        if "upto" in request.POST:
            return self._do_batch(request, rows.order_by("pk"), name)
        return self._ask(request, rows.order_by("pk"), name)

    def confirmation(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        """Return the page that asks before an action."""
        title = self._action(request, name)[2] if context.get("is_list") else capfirst(name)
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "back": request.get_full_path(),
            **context,
        }
        return TemplateResponse(request, "admin/confirm_action.html", page)

    def _ask(self, request: HttpRequest, rows: QuerySet[Any], name: str) -> HttpResponse | None:
        last = rows.reverse().values_list("pk", flat=True).first()
        if last is None:
            return None
        count = rows.order_by().count()
        names = list(map(str, rows[:SHOWN_NAMES]))
        return self.confirmation(
            request,
            name,
            is_list=True,
            count=f"{count:,} {self._named(count)}",
            names=names,
            more=count - len(names),
            hidden=_carried(request, after=0, upto=last, count=count, seen=0, changed=0, refused=0),
        )

    def _do_batch(self, request: HttpRequest, rows: QuerySet[Any], name: str) -> HttpResponse:
        known = {key: _number(request, key) for key in ("after", "upto", "count", "seen")}
        rows = rows.filter(pk__gt=known["after"], pk__lte=known["upto"])
        keys = list(rows.values_list("pk", flat=True)[: self.batch_size])
        tally = Tally(_number(request, "changed"), _number(request, "refused"))
        if keys:
            vars(request)["tally"] = tally
            act = self._action(request, name)[0]
            act(self, request, self.get_queryset(request).filter(pk__in=keys))
        known |= {"after": keys[-1] if keys else known["upto"], "seen": known["seen"] + len(keys)}
        if len(keys) < self.batch_size:
            if tally.changed:
                words = tally.done or "done"
                messages.success(request, f"{counted(tally.changed, self.opts)} {words}.")
            if tally.refused:
                messages.warning(request, f"{tally.refused:,} were refused or stay as they are.")
            return HttpResponseRedirect(request.get_full_path())
        return self.confirmation(
            request,
            name,
            is_list=True,
            is_under_way=True,
            progress=f"{known['seen']:,} of {known['count']:,}",
            hidden=_carried(request, **known, changed=tally.changed, refused=tally.refused),
        )

    def _action(self, request: HttpRequest, name: str) -> tuple[Any, str, Any]:
        found: Any = self.get_actions(request)[name]
        return found  # type: ignore[no-any-return]

    def _named(self, count: int) -> str:
        return str(self.opts.verbose_name if count == 1 else self.opts.verbose_name_plural)


def _action_of(request: HttpRequest) -> str:
    names = request.POST.getlist("action")
    index = request.POST.get("index", "0")
    place = int(index) if index.isascii() and index.isdecimal() and len(index) < 3 else 0
    return names[place] if place < len(names) else ""


def _number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _carried(request: HttpRequest, **values: int) -> list[tuple[str, Any]]:
    """Return what the page sends again, and the place that was reached."""
    post = request.POST
    is_all = post.get("select_across") == "1"
    keys = post.getlist(ACTION_CHECKBOX_NAME)
    return [
        ("action", _action_of(request)),
        ("index", "0"),
        ("select_across", "1" if is_all else "0"),
        ("priority", post.get("priority", "")),
        *((ACTION_CHECKBOX_NAME, key) for key in (keys[:1] if is_all else keys)),
        *values.items(),
    ]
