"""Links of admin pages: what the viewer may not open is text, no link.

Columns and templates of every app ask here. Who views is known from the request that is answered.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django import template
from django.apps import apps
from django.contrib import admin
from django.contrib.admin import helpers
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


class ViewerMiddleware:
    """Tell this module which request is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _request.set(request)
        try:
            return self.get_response(request)
        finally:
            _request.reset(token)


def visible(rows: QuerySet[Any], user: Any) -> QuerySet[Any]:
    """Return those of `rows` that the user may see: all of a model whose rows nobody owns."""
    visible_to = getattr(rows, "visible_to", None)
    return visible_to(user) if visible_to else rows


@register.simple_tag
def page_url(name: str, *args: Any, query: str = "") -> str:
    """Return the address of a model's page, as "crawler_image_change"; empty if it may not be opened.

    Whether a row is visible is asked by `row_url`.
    """
    request = _request.get()
    app_label, model_name, page = name.split("_", 2)
    shown = admin.site._registry.get(apps.get_model(app_label, model_name))
    if request is None or shown is None:
        return ""
    asked = {"add": shown.has_add_permission, "delete": shown.has_delete_permission}
    if not asked.get(page, shown.has_view_permission)(request):
        return ""
    return reverse(f"admin:{name}", args=args) + (f"?{query}" if query else "")


@register.simple_tag
def row_url(row: Model | None) -> str:
    """Return the address of a row's page; empty if the viewer may not open it."""
    request = _request.get()
    if row is None or request is None:
        return ""
    model = type(row)
    url = page_url(f"{model._meta.app_label}_{model._meta.model_name}_change", quote(row.pk))
    if url:
        rows = visible(model._default_manager.all(), request.user)
        if rows.query.where and not rows.filter(pk=row.pk).exists():
            return ""
    return url


@register.simple_tag
def entry_link(entry: LogEntry) -> SafeString | str:
    """Return what an entry of the history is about, as a link if the viewer may open it."""
    model = (
        None if entry.is_deletion() or not entry.content_type else entry.content_type.model_class()
    )
    row = model._default_manager.filter(pk=entry.object_id).first() if model else None
    return linked(entry.object_repr, row_url(row))


def without_links(html: str, request: HttpRequest) -> SafeString:
    """Return HTML that we made for all, with the words alone of what the viewer may not open."""
    before, *links = html.split("<a ")
    parts = [before]
    for link in links:
        tag, _, inside = link.partition(">")
        if _may_follow(tag.partition('href="')[2].partition('"')[0], request):
            parts += ["<a ", link]
        else:
            words, _, after = inside.partition("</a>")
            parts += [words, after]
    return mark_safe("".join(parts))  # noqa: S308  our own templates made it


def _may_follow(address: str, request: HttpRequest) -> bool:
    app_label, _, rest = address.removeprefix(reverse("admin:index")).partition("/")
    try:
        shown = admin.site._registry[apps.get_model(app_label, rest.partition("/")[0])]
    except (KeyError, LookupError, ValueError):
        return True  # no page of a model
    return bool(shown.has_view_permission(request))


def linked(text: object, url: str, css: str = "") -> SafeString | str:
    """Return a link, or, with an empty `url`, the text."""
    if not url:
        return format_html("{}", text)
    return format_html(
        '<a{} href="{}">{}</a>', format_html(' class="{}"', css) if css else "", url, text
    )


def _linked_if_allowed(_field: Any, _remote_field: Any, row: Model) -> SafeString | str:
    return linked(row, row_url(row))


# Django links the row of a read-only foreign key, whether or not its page may be opened.
helpers.AdminReadonlyField.get_admin_url = _linked_if_allowed  # type: ignore[assignment,method-assign]
