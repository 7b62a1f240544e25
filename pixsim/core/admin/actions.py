"""Actions on selected rows: done row by row by a service, whose refusals become messages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from pixsim.core.admin.lists import ConditionFilter
from pixsim.core.priority import PRIORITIES, priority_of

MAX_SELECTED = 1000
"""The most rows that one action may change."""
MAX_REFUSALS = 20
"""The most refusals that are shown one by one."""


class PriorityActionForm(ActionForm):
    """The choice of an action, and the priority that "Change priority" sets."""

    priority = forms.TypedChoiceField(
        choices=[("", "priority"), *((n, n) for n in PRIORITIES)],
        coerce=int,
        empty_value=None,
        required=False,
        label="",
        widget=forms.Select({"aria-label": "priority to set"}),
    )


class PriorityFilter(ConditionFilter):
    """A filter by priority that does not ask the table which priorities there are."""

    title = "priority"
    parameter_name = "priority"
    conditions = {str(n): (str(n), Q(priority=n)) for n in PRIORITIES}


def chosen_priority(request: HttpRequest) -> int | None:
    """Return the priority chosen beside the action; None, with a message, if there is none."""
    priority = priority_of(request.POST.get("priority", ""))
    if priority is None:
        messages.error(request, "Choose the priority beside the action.")
    return priority


def act_on_each(
    request: HttpRequest,
    queryset: QuerySet[Any],
    act: Callable[[Any], object],
    *,
    done: str,
    refusals: tuple[type[Exception], ...],
) -> None:
    """Call `act` with each selected row; say how many are now `done`, and each refusal."""
    rows = list(queryset.order_by("pk")[: MAX_SELECTED + 1])
    names = queryset.model._meta
    if len(rows) > MAX_SELECTED:
        plural = names.verbose_name_plural
        messages.error(request, f"Select at most {MAX_SELECTED:,} {plural} at once.")
        return
    refused = []
    for row in rows:
        try:
            act(row)
        except refusals as refusal:
            refused.append(str(refusal))
    report(request, names, changed=len(rows) - len(refused), done=done, refused=len(refused))
    for text in refused[:MAX_REFUSALS]:
        messages.error(request, text)
    if len(refused) > MAX_REFUSALS:
        messages.error(request, f"{len(refused) - MAX_REFUSALS:,} more were refused.")


@dataclass
class Tally:
    """What the batches of one action did so far."""

    changed: int = 0
    refused: int = 0
    done: str = ""


def report(request: HttpRequest, names: Any, *, changed: int, done: str, refused: int = 0) -> None:
    """Say how many rows are now `done`; in a batch of many, add it to what is said at the end."""
    tally = getattr(request, "tally", None)
    if tally:
        tally.changed += changed
        tally.refused += refused
        tally.done = done
    elif changed:
        messages.success(request, f"{counted(changed, names)} {done}.")


def counted(count: int, names: Any) -> str:
    """Return "1 crawl job is" or "3 crawl jobs are", for a model's `_meta`."""
    if count == 1:
        return f"1 {names.verbose_name} is"
    return f"{count:,} {names.verbose_name_plural} are"
