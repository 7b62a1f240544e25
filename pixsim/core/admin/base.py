"""The model admin that all others are made of."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin import SimpleListFilter, widgets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import ForeignKey, JSONField, QuerySet
from django.http import HttpRequest, HttpResponse

from pixsim.core.forms import JsonField

FILTER_LOOKUPS = ("exact", "isnull", "gte", "lt", "pk__exact", "id__exact")
"""What the links of Django's own filters add to the name of their field."""
DATE_LOOKUPS = ("year", "month", "day", "gte", "lt")


class AutocompleteSelect(widgets.AutocompleteSelect):
    """Django's, which is drawn with nothing chosen when what was sent is no key at all."""

    def optgroups(self, name: str, value: Sequence[str], attrs: Any = None) -> Any:
        try:
            return super().optgroups(name, value, attrs)
        except (ValueError, ValidationError):
            return super().optgroups(name, [], attrs)


class ModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A model admin whose list is filtered by what its page offers, and by nothing else.

    Django allows every lookup on a model's own fields, shown or not: `?key_hash__startswith=a`
    would read a hidden hash, digit by digit. Every other lookup is answered with 400, and so are
    keys that are none.
    """

    formfield_overrides: ClassVar[Any] = {JSONField: {"form_class": JsonField}}
    link_lookups: ClassVar[Sequence[str]] = ()
    """Lookups of our own links to this list that none of its filters has."""

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

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **options: Any
    ) -> HttpResponse | None:
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.get_prep_value(self.opts.pk.to_python(key))
            except (ValueError, ValidationError) as error:
                raise BadRequest("A selected row has no such key.") from error
        return super().response_action(request, queryset, *args, **options)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", AutocompleteSelect(db_field, self.admin_site))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)
