"""What a browser sends for a form of the admin."""

from typing import Any

from django.forms import MultipleChoiceField


def sent(response: Any, **values: Any) -> dict[str, Any]:
    """Return what the form of a shown page sends, with `values` typed into it.

    A value of None is a box that is not ticked. No row of an inline is sent.
    """
    data: dict[str, Any] = {"_shown": response.context["shown_token"]}
    for bound in response.context["adminform"].form:
        shown = bound.value()
        if shown is None and isinstance(bound.field, MultipleChoiceField):
            continue
        if isinstance(shown, bool):
            if shown:
                data[bound.html_name] = "on"
        else:
            data[bound.html_name] = "" if shown is None else shown
    for inline in response.context["inline_admin_formsets"]:
        for name in ("TOTAL_FORMS", "INITIAL_FORMS"):
            data[f"{inline.formset.prefix}-{name}"] = "0"
    data.update(values)
    return {name: value for name, value in data.items() if value is not None}
