"""The model admin that all others are made of."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin import SimpleListFilter, widgets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_user_model
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import ForeignKey, JSONField, QuerySet
from django.forms import Select
from django.http import HttpRequest, HttpResponse

from pixsim.core.admin.links import visible
from pixsim.core.admin.shown import shown_form, token_of
from pixsim.core.forms import JsonField

FILTER_LOOKUPS = ("exact", "isnull", "gte", "lt", "pk__exact", "id__exact")
"""What the links of Django's own filters add to the name of their field."""
RECORDERS: list[Callable[[HttpRequest, Any, str, Any], None]] = []
"""Called with each row that Django's History gets an entry of: request, row, what was done, message."""
DATE_LOOKUPS = ("year", "month", "day", "gte", "lt")


class AutocompleteSelect(widgets.AutocompleteSelect):
    """Django's, which is drawn with nothing chosen when what was sent is no key at all."""

    def optgroups(self, name: str, value: Sequence[str], attrs: Any = None) -> Any:
        try:
            return super().optgroups(name, value, attrs)
        except (ValueError, ValidationError):
            return super().optgroups(name, [], attrs)


class ModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A model admin whose forms overwrite nothing (`shown`), and whose list has only its own filters.

    Its rows, and those that a field of it may refer to, are those that the user may see: `visible_to`
    of the model's rows.

    Django allows every lookup on a model's own fields, shown or not: `?key_hash__startswith=a`
    would read a hidden hash, digit by digit. Every other lookup is answered with 400, and so are
    keys that are none.
    """

    formfield_overrides: ClassVar[Any] = {JSONField: {"form_class": JsonField}}
    link_lookups: ClassVar[Sequence[str]] = ()
    """Lookups of our own links to this list that none of its filters has."""
    is_recorded: ClassVar[bool] = False
    """Whether services record what is done here, in the activity log and in the History."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible(super().get_queryset(request), request.user)

    def get_field_queryset(
        self, db: str | None, db_field: Any, request: HttpRequest
    ) -> QuerySet[Any] | None:
        rows = super().get_field_queryset(db, db_field, request)
        if rows is None:
            rows = db_field.remote_field.model._default_manager.using(db)
        rows = visible(rows, request.user)
        if self._may_view(db_field.remote_field.model, request):
            return rows
        own = getattr(rows, "of_user", None)
        if db_field.remote_field.model is get_user_model():
            return rows.filter(pk=request.user.pk)
        return rows if own is None else own(request.user)

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        return [name for name in self.autocomplete_fields if self._may_pick(name, request)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return also what the user could not choose anew, once it is chosen."""
        shown = super().get_readonly_fields(request, obj)
        return [*shown, *self.unpickable(request)] if obj else shown

    def unpickable(self, request: HttpRequest) -> list[str]:
        """Return the fields of which the user may not see the list that one chooses from."""
        names = (*self.autocomplete_fields, *self.raw_id_fields)
        return [name for name in names if not self._may_pick(name, request)]

    def _may_pick(self, name: str, request: HttpRequest) -> bool:
        return self._may_view(self.opts.get_field(name).related_model, request)

    def _may_view(self, model: Any, request: HttpRequest) -> bool:
        shown = self.admin_site._registry.get(model)
        return shown is None or shown.has_view_permission(request)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        offered = set(self.link_lookups)
        filters = self.list_filter if request is None else self.get_list_filter(request)
        for one in filters:
            if isinstance(one, type) and issubclass(one, SimpleListFilter):
                offered.add(str(one.parameter_name))
            else:
                name = str(one[0] if isinstance(one, list | tuple) else one)
                offered |= {name, *(f"{name}__{lookup}" for lookup in FILTER_LOOKUPS)}
        if self.date_hierarchy:
            offered |= {f"{self.date_hierarchy}__{lookup}" for lookup in DATE_LOOKUPS}
        return lookup in offered

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        return shown_form(super().get_form(request, *args, **options), request)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        shown = [context["adminform"].form]
        for inline in context["inline_admin_formsets"]:
            shown += inline.formset.initial_forms
        context["shown_token"] = token_of(shown)
        return super().render_change_form(request, context, *args, **options)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            form.write()
        else:
            super().save_model(request, obj, form, change)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **options: Any
    ) -> HttpResponse | None:
        self.check_keys(request)
        return super().response_action(request, queryset, *args, **options)

    def check_keys(self, request: HttpRequest) -> None:
        """Raise BadRequest for a selected row whose key is none."""
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.get_prep_value(self.opts.pk.to_python(key))
            except (ValueError, ValidationError) as error:
                raise BadRequest("A selected row has no such key.") from error

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if self.is_recorded:
            return None
        _tell(request, obj, "added", message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if self.is_recorded:
            return None
        _tell(request, obj, "changed", message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            _tell(request, obj, "deleted", str(obj))
        return super().log_deletions(request, queryset)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", AutocompleteSelect(db_field, self.admin_site))
        elif not self._may_view(db_field.remote_field.model, request):
            kwargs.setdefault("widget", Select())  # the chooser would answer with 403
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


def _tell(request: HttpRequest, obj: Any, what: str, message: Any) -> None:
    for record in RECORDERS:
        record(request, obj, what, message)
