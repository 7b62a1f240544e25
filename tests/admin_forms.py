"""What a browser sends for a form of the admin."""

import re
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


def hidden(answer: Any) -> dict[str, list[str]]:
    """Return what the page of a question sends when one agrees."""
    found: dict[str, list[str]] = {}
    html = answer.content.decode()
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html):
        found.setdefault(name, []).append(value)
    return found


def agreed(client: Any, url: str, data: dict[str, Any]) -> Any:
    """Send an action, agree if it asks first, and return the page that follows."""
    answer = client.post(url, data, follow=True)
    if "Are you sure" in answer.content.decode():
        answer = client.post(url, hidden(answer), follow=True)
    return answer
