"""`manage.py providers models`: the models of a provider, their dates, and what it says of them now."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError

from pixsim.core import cli
from pixsim.core.cli import UsageError
from pixsim.core.cli.tables import render, table
from pixsim.core.crypto import CredentialsUnreadable
from providers import model_dates
from providers.adapters.base import Adapter
from providers.adapters.errors import ProviderError
from providers.adapters.models import Models
from providers.credentials import models_of
from providers.models import AccountStatus, ProviderAccount

HEADS = ("model", "operations", "offered", "deprecated", "shut down", "successor")


def print_models(
    command: cli.Command,
    adapter: Adapter,
    *,
    refresh: bool,
    account: int | None,
    json: bool,
    **options: Any,
) -> None:
    if account is not None and not refresh:
        raise UsageError("--account: only with --refresh.")
    rows = list(_rows(adapter))
    offered = _asked(adapter, account) if refresh else None
    if offered is not None:
        known = {row["model"] for row in rows}
        rows += [_row(adapter, one) for one in sorted(offered - known) if _operations(adapter, one)]
        for row in rows:
            row["is_offered_now"] = row["model"] in offered
    if json:
        command.print_json({"models": rows})
        return
    heads = HEADS if offered is None else (*HEADS, "offered now")
    cells = [[_cell(value) for value in row.values()] for row in rows]
    command.stdout.write(render(table(heads, cells, texts=len(heads))))
    if families := _families(adapter):
        command.stdout.write(f"Any other name is taken that begins with: {', '.join(families)}.")


def _asked(adapter: Adapter, account_id: int | None) -> set[str]:
    """Return the models that the provider names to an account. Raise UsageError or CommandError."""
    if not adapter.can_list_models:
        raise UsageError(f"--refresh: {adapter.title} cannot be asked for its models.")
    accounts = ProviderAccount.objects.filter(provider_id=adapter.name).order_by("-priority", "id")
    if account_id is None:
        found = accounts.exclude(status__in=[AccountStatus.DISABLED, AccountStatus.ERROR]).first()
    else:
        found = accounts.filter(pk=account_id).first()
    if found is None:
        which = "account that works" if account_id is None else f"account {account_id}"
        raise UsageError(f"--account: there is no {which} at {adapter.name}.")
    try:
        return set(models_of(found))
    except (ProviderError, CredentialsUnreadable) as error:
        raise CommandError(f"{found} cannot be asked: {error}") from error


def _rows(adapter: Adapter) -> Iterator[dict[str, Any]]:
    named = dict.fromkeys(model for one in adapter.operations.values() for model in one.models)
    return (_row(adapter, model) for model in named)


def _row(adapter: Adapter, model: str) -> dict[str, Any]:
    dates = model_dates.dates_of(adapter, model)
    return {
        "model": model,
        "operations": _operations(adapter, model),
        "offered": dates.offered and str(dates.offered),
        "deprecated": dates.deprecated and str(dates.deprecated),
        "shut_down": dates.shut_down and str(dates.shut_down),
        "successor": dates.successor,
    }


def _operations(adapter: Adapter, model: str) -> list[str]:
    return [name for name, one in adapter.operations.items() if model in one.models]


def _families(adapter: Adapter) -> list[str]:
    found = {
        family
        for one in adapter.operations.values()
        if isinstance(one.models, Models)
        for family in one.models.families
    }
    return sorted(
        one for one in found if not any(one != two and one.startswith(two) for two in found)
    )


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value or "-"
