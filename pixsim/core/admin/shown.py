"""What a page of the admin showed: a form that was open meanwhile overwrites nothing."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.forms.utils import pretty_name
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import Truncator, capfirst

TOKEN = "_shown"  # noqa: S105  the name of a field
SALT = "pixsim.core.admin.shown"
LIFECYCLE = "status"
"""The field that is compared although the form may not have it."""
UNREADABLE = (
    "What this page showed is missing from the form or was altered, so nothing was saved. "
    "Look at what would change, and save again."
)
CHANGED = (
    "This {} has changed since the page was shown, so nothing was saved. What you typed is kept, "
    "all else is as it is now. Save again if you still want it."
)
GONE = "This {} was deleted since the page was shown: nothing was saved. Load the page again."


class ShownForm(forms.ModelForm):  # type: ignore[type-arg]
    """Saves only what its user changed, if the row is still as the page showed it.

    The page sends back, signed, the values that it showed of the form's fields and of the row's
    `status`. If one is another now, the form lists what each was, is, and would become.
    Counters, leases and times are no fields of a form, so they may change meanwhile.
    """

    page: ClassVar[Mapping[str, dict[str, Any]]] = {}
    """What the page showed: of each row, by `key_of`, the values as JSON."""
    locks: ClassVar[bool] = True
    """Whether to lock the row while it is compared. Otherwise who saves compares, in its UPDATE."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now: dict[str, Any] = {}
        self.shown: dict[str, Any] | None = None
        self.stale: list[str] = []
        if self.instance._state.adding:
            return
        known = {field.name for field in _fields(self.instance)}
        names = [name for name, field in self.fields.items() if not field.disabled]
        self.compared = [name for name in dict.fromkeys([*names, LIFECYCLE]) if name in known]
        self.now = state_of(self.instance, self.compared)
        self.shown = self.page.get(key_of(self.instance))
        for name, value in (self.shown or {}).items():
            if name in self.fields:
                self.initial[name] = self._as_python(name, value)

    @property
    def was(self) -> dict[str, Any]:
        """Return every value that the page showed, as Python has it."""
        return {name: self._as_python(name, value) for name, value in (self.shown or {}).items()}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        self.stale = self._why_stale()
        if self.stale:
            self.add_error(None, self.stale)
        return values

    def save(self, commit: bool = True) -> Any:
        is_new = self.instance._state.adding
        super().save(commit=commit and is_new)
        if commit and not is_new:
            self.write()
            self.save_m2m()
        return self.instance

    def write(self) -> None:
        """Write the columns that the user changed, and no others."""
        if changed := self.changed_columns():
            fields = self.instance._meta.concrete_fields
            now = [field.name for field in fields if getattr(field, "auto_now", False)]
            self.instance.save(update_fields=[*changed, *now])

    def changed_columns(self) -> list[str]:
        columns = {field.name for field in self.instance._meta.concrete_fields}
        return [name for name in self.changed_data if name in columns]

    def _why_stale(self) -> list[str]:
        name = self.instance._meta.verbose_name
        if self.instance._state.adding:
            # A row of an inline that the page showed, and that is not there.
            return [GONE.format(name)] if self._names_a_row() else []
        row = self._row()
        if row is None:
            return [GONE.format(name)]
        self.now = state_of(row, self.compared)
        if self.shown is None:
            return [UNREADABLE, *self._differences()]
        if self.shown == self.now:
            return []
        if not self.changed_data and self.shown.keys() == self.now.keys():
            return []  # nothing would be written
        differences = self._differences()
        self._show_what_is_now()
        return [CHANGED.format(name), *differences]

    def _names_a_row(self) -> bool:
        return bool(self.prefix and self.data.get(self.add_prefix(self.instance._meta.pk.name)))

    def _row(self) -> Any:
        if not self.locks:
            return self.instance
        rows = type(self.instance)._base_manager.select_for_update(no_key=True, of=("self",))
        return rows.filter(pk=self.instance.pk).first()

    def _differences(self) -> list[str]:
        names = dict.fromkeys([*self.compared, *(self.shown or {})])
        lines = [line for name in names if (line := self._difference(name))]
        secrets = [
            f"{self.fields[name].label or pretty_name(name)}: type it again, pages show no secret."
            for name in self.changed_data
            if isinstance(self.fields[name].widget, forms.PasswordInput)
        ]
        return [*lines, *secrets]

    def _difference(self, name: str) -> str:
        field = self.instance._meta.get_field(name)
        shown, is_changed = self.shown, name in self.changed_data
        now = self.now.get(name) if name in self.now else state_of(self.instance, [name])[name]
        was = now if shown is None else shown.get(name)
        if was == now and not is_changed:
            return ""
        ends = "stays so"
        if is_changed:
            wanted = self.cleaned_data.get(name, self[name].data)
            ends = f"would become {words_of(field, plain(wanted))}"
        began = "" if shown is None else f"was {words_of(field, was)}, "
        return f"{capfirst(field.verbose_name)}: {began}is {words_of(field, now)} now, {ends}."

    def _show_what_is_now(self) -> None:
        for name in set(self.compared) & set(self.fields) - set(self.changed_data):
            field: Any = self.fields[name]
            field.bound_data = partial(_instead, self._as_python(name, self.now[name]))

    def _as_python(self, name: str, value: Any) -> Any:
        return self.instance._meta.get_field(name).to_python(value)


class ShownFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """Of ShownForms. Deletes no row that changed meanwhile."""

    def clean(self) -> None:
        super().clean()
        lines = []
        shown: list[Any] = self.initial_forms
        for form in shown:
            is_deleted = self.can_delete and self._should_delete_form(form)  # type: ignore[attr-defined]
            # Django looks at no errors of a form whose row is to be deleted, and draws no row that
            # is gone.
            if is_deleted if form.now else not is_deleted:
                lines += form.stale
        if lines:
            raise ValidationError(lines)


def shown_form(form: Any, request: HttpRequest) -> Any:
    """Return the form's class as one that knows what the page showed from which it is sent."""
    bases = (form,) if issubclass(form, ShownForm) else (ShownForm, form)
    return type(form.__name__, bases, {"page": _page_of(request)})


def shown_formset(formset: Any, request: HttpRequest) -> Any:
    form = shown_form(formset.form, request)
    return type(formset.__name__, (ShownFormSet, formset), {"form": form})


def token_of(shown: Iterable[Any]) -> str:
    """Return what a page with these forms sends back: their rows' values, signed."""
    rows = {key_of(form.instance): form.now for form in shown if form.now}
    return signing.dumps(rows, salt=SALT, compress=True) if rows else ""


def key_of(row: Model) -> str:
    return f"{row._meta.label_lower}:{row.pk}"


def state_of(row: Model, names: Iterable[str]) -> dict[str, Any]:
    """Return the row's values of these fields, as JSON."""
    return {name: plain(row._meta.get_field(name).value_from_object(row)) for name in names}  # type: ignore[union-attr]


def plain(value: Any) -> Any:
    """Return a value as JSON: rows by their keys, what JSON has not as text."""
    if isinstance(value, Model):
        value = value.pk
    elif isinstance(value, QuerySet) or (value and _are_rows(value)):
        value = sorted(row.pk for row in value)
    return json.loads(json.dumps(value, default=str))


def words_of(field: Any, value: Any) -> str:
    """Return a field's value, as JSON has it, in words for people."""
    if value in (None, "", [], {}):
        return "empty"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.is_relation:
        text = _names_of(field.related_model, value if isinstance(value, list) else [value])
    elif isinstance(field, DateTimeField):
        text = _time(field, value)
    elif isinstance(value, str | int):
        text = str(dict(field.flatchoices).get(value, value))
    else:
        text = json.dumps(value, ensure_ascii=False)
    text = Truncator(text).chars(120)
    return f"“{text}”" if isinstance(value, str) else text


def _names_of(model: Any, keys: list[Any]) -> str:
    try:
        found = ", ".join(map(str, model._base_manager.filter(pk__in=keys)))
    except (ValueError, ValidationError):  # typed, and no keys
        found = ""
    return found or ", ".join(map(str, keys))


def _time(field: Any, value: Any) -> str:
    try:
        return f"{timezone.localtime(field.to_python(value)):%Y-%m-%d %H:%M:%S %Z}"
    except (ValueError, TypeError, ValidationError):  # typed, and no time
        return str(value)


def _instead(value: Any, _data: Any, _initial: Any) -> Any:
    return value


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Model) for each in value)


def _fields(row: Model) -> list[Any]:
    return [*row._meta.concrete_fields, *row._meta.many_to_many]


def _page_of(request: HttpRequest) -> dict[str, dict[str, Any]]:
    try:
        page: dict[str, dict[str, Any]] = signing.loads(request.POST.get(TOKEN, ""), salt=SALT)
    except signing.BadSignature:
        return {}
    return page
