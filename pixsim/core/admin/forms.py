"""Forms of the admin that a service saves: only what the user changed, refusals at their field."""

from typing import Any, ClassVar

from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from pixsim.core.admin.base import ModelAdmin
from pixsim.core.admin.shown import ShownForm


class ServiceForm(ShownForm):
    """A form whose `changes` a service makes, if the row still has the values of `was`."""

    # The service locks in the order of its own rows, and compares in its UPDATE.
    locks = False
    refusal: ClassVar[Exception | None] = None
    """What the service refused, in a form that is shown again for that reason."""

    @property
    def changes(self) -> dict[str, Any]:
        """Return the new value of each field that the user changed."""
        return {name: self.cleaned_data[name] for name in self.changed_data}

    def place_of(self, refusal: Exception) -> tuple[str | None, str]:
        """Return the field to correct (None: no single one) and the message for people."""
        return None, str(refusal)

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if self.refusal is not None:
            name, text = self.place_of(self.refusal)
            self.add_error(name if name in self.fields else None, text)
        return values


class ServiceAdmin(ModelAdmin):
    """A model admin that saves through services. Its form is a ServiceForm."""

    is_recorded = True

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
