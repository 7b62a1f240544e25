"""Forms of the admin that a service saves: only what the user changed, refusals at their field."""

from typing import Any, ClassVar

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from pixsim.core.admin.base import ModelAdmin

STALE = "It has changed since this page was shown. Load the page again."


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form that knows what its page showed.

    The page sends the value that it showed beside each field. `changed_data` names the fields
    that the user changed, whatever the row holds by now; a change of a field whose value is no
    longer the one shown is refused. `shown` has the values to compare in the UPDATE.
    """

    refusal: ClassVar[Exception | None] = None
    """What the service refused, in a form that is shown again for that reason."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            for field in self.fields.values():
                field.show_hidden_initial = True

    @property
    def changes(self) -> dict[str, Any]:
        """Return the new value of each field that the user changed."""
        return {name: self.cleaned_data[name] for name in self.changed_data}

    @property
    def shown(self) -> dict[str, Any]:
        """Return the value that the page showed of each field that the user changed."""
        return {name: self.initial.get(name) for name in self.changed_data}

    def place_of(self, refusal: Exception) -> tuple[str | None, str]:
        """Return the field to correct (None: no single one) and the message for people."""
        return None, str(refusal)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk is not None:
            self._refuse_stale()
        if self.refusal is not None:
            name, text = self.place_of(self.refusal)
            self.add_error(name if name in self.fields else None, text)
        return values

    def _refuse_stale(self) -> None:
        for name in self.changed_data:
            shown = self.data.get(self.add_initial_prefix(name))
            if self.fields[name].has_changed(self.initial.get(name), shown):
                self.add_error(name, STALE)
        for key in self.data:
            # The page had a field that may not be changed any more.
            name = key.removeprefix("initial-")
            is_gone = name != key and "-" not in name and name not in self.fields
            if is_gone and self.data.get(name) != self.data[key]:
                self.add_error(None, f"{name}: {STALE}")


class ServiceAdmin(ModelAdmin):
    """A model admin that saves through services. Its form is a ServiceForm."""

    refusals: ClassVar[tuple[type[Exception], ...]] = ()
    """What the services raise. The form is shown again then, with the reason at its field."""

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"refusal": getattr(request, "refusal", None)})

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except self.refusals as refusal:
            # Nothing was saved: the transaction of the first pass is undone.
            request.refusal = refusal  # type: ignore[attr-defined]
            return super().changeform_view(request, *args, **kwargs)


def copy_row(saved: Model, instance: Model) -> None:
    """Make a form's unsaved instance the row that a service saved."""
    instance.__dict__.update(saved.__dict__)
