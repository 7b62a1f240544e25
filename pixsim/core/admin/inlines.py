"""Rows of another model on a row's page."""

from typing import Any

from django.contrib import admin
from django.forms.utils import pretty_name
from django.http import HttpRequest

from pixsim.core.admin.base import ModelAdmin
from pixsim.core.admin.shown import shown_formset


class TabularInline(admin.TabularInline):  # type: ignore[type-arg]
    """A table of rows, which too overwrite nothing (`shown`).

    The title of its column is each field's name for who cannot see it.
    """

    formfield_overrides = ModelAdmin.formfield_overrides

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)

        class Named(formset):
            def add_fields(self, form: Any, index: int | None) -> None:
                super().add_fields(form, index)
                for name, field in form.fields.items():
                    if not field.widget.is_hidden:
                        title = str(field.label or pretty_name(name))
                        field.widget.attrs.setdefault("aria-label", title)

        return shown_formset(Named, request)
