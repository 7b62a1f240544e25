"""`manage.py providers list|schema|accounts`: the providers, their parameters, our accounts there."""

from argparse import ArgumentParser
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pixsim.core import cli
from providers.adapters import all_adapters, base_url_of
from providers.adapters.base import Adapter
from providers.management import accounts, models
from providers.webhooks import sends_webhooks

Thing = TypeVar("Thing")


class Command(cli.Command):
    help = "The providers, what each can do, the parameters that it takes, and our accounts there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)

        action = actions.add_parser("list", help="every provider with its operations and models")
        cli.add_json_flag(action)
        action.set_defaults(run=self._list)

        action = actions.add_parser(
            "schema", help="the parameters of an operation, as a JSON schema"
        )
        action.add_argument("provider", help="its name, as list shows it")
        action.add_argument("operation", help="such as text_to_image")
        action.add_argument("--model", help="default: the operation's first")
        action.set_defaults(run=self._schema)

        action = actions.add_parser("models", help="its models, with their dates")
        action.add_argument("provider", help="its name, as list shows it")
        action.add_argument(
            "--refresh", action="store_true", help="ask the provider which of them it offers now"
        )
        action.add_argument(
            "--account",
            type=int,
            metavar="ID",
            help="as this account; default: the first that works",
        )
        cli.add_json_flag(action)
        action.set_defaults(run=self._models)

        action = actions.add_parser("accounts", help="the accounts we have there")
        accounts.add_arguments(action)
        action.set_defaults(run=self._accounts)

    def handle(self, *, run: Any, **options: Any) -> None:
        run(**options)

    def _list(self, *, json: bool, **options: Any) -> None:
        if json:
            self.print_json({name: _described(one) for name, one in all_adapters().items()})
            return
        self.stdout.write("\n\n".join(_paragraph(one) for one in all_adapters().values()))

    def _schema(self, *, provider: str, operation: str, model: str | None, **options: Any) -> None:
        adapter = _named("There is no provider", provider, all_adapters())
        found = _named(f"{provider} has no operation", operation, adapter.operations)
        model = model or found.default_model
        schema = _named(f"{provider} has no model for {operation}", model, found.models)
        self.print_json(schema.model_json_schema(), indent=2)

    def _models(self, *, provider: str, **options: Any) -> None:
        adapter = _named("There is no provider", provider, all_adapters())
        models.print_models(self, adapter, **options)

    def _accounts(self, *, do: Any, **options: Any) -> None:
        do(self, **options)


def _named(what: str, name: str, known: Mapping[str, Thing]) -> Thing:
    """Return the thing of this name. Raise UsageError, which suggests names that are near."""
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There is: {', '.join(known)}."
    raise cli.UsageError(f"{what} {name!r}. {hint}")


def _described(adapter: Adapter) -> dict[str, Any]:
    return {
        "title": adapter.title,
        "base_url": base_url_of(adapter),
        "credential": adapter.credential,
        "can_find": adapter.can_find,
        "can_cancel": adapter.can_cancel,
        "has_webhooks": sends_webhooks(adapter),
        "operations": {name: list(one.models) for name, one in adapter.operations.items()},
    }


def _paragraph(adapter: Adapter) -> str:
    width = max(len(name) for name in adapter.operations)
    lines = [f"{adapter.name}: {adapter.title}, {base_url_of(adapter) or 'no address needed'}"]
    lines += [
        f"    {name:{width}}  {', '.join(one.models)}" for name, one in adapter.operations.items()
    ]
    abilities = {
        "finds a submission by our reference": adapter.can_find,
        "cancels": adapter.can_cancel,
        "sends webhooks": sends_webhooks(adapter),
    }
    lines += [f"    {'yes' if holds else 'no ':3}  {what}" for what, holds in abilities.items()]
    lines.append(f"    an account needs: {adapter.credential or 'nothing'}")
    return "\n".join(lines)
