"""`manage.py providers accounts`: our accounts with the providers.

Secrets come from standard input, a prompt or an environment variable, never from the command line,
where other users of the machine and the shell's history could see them. None is ever printed.
"""

import getpass
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.utils import timezone

from pixsim.core import cli
from pixsim.core.cli import UsageError
from pixsim.core.cli.tables import render, table
from pixsim.core.formats import format_duration
from providers import credits, services, slots
from providers.adapters import UnknownProvider, adapter_named
from providers.models import ProviderAccount
from providers.slots import Standing


def add_arguments(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True)

    verb = verbs.add_parser(
        "add", help="add one; its secret is asked for, or read from standard input"
    )
    add = verb.add_argument
    add("provider", help="its name, as list shows it")
    add("email", help="the e-mail address of the log-in there")
    add("--secret-env", metavar="NAME", help="read the secret from this variable")
    add("--nickname")
    add("--slots", type=int, default=2, help="generations it may carry at once (2)")
    add("--priority", type=int, default=0, help="higher is preferred (0)")
    add("--daily-cap", type=int, help="generations per day (UTC)")
    add("--owner", metavar="USERNAME", help="only this user's jobs may use it")
    verb.set_defaults(do=_add)

    verb = verbs.add_parser("list", help="all, with slots, health, cooldown and credits")
    verb.add_argument("--provider")
    cli.add_json_flag(verb)
    verb.set_defaults(do=_list)

    enable = partial(_switch, service=services.enable_account, result="enabled")
    disable = partial(_switch, service=services.disable_account, result="disabled")
    for name, do, text in (
        ("test", _test, "ask the provider whether the log-in works, at no cost"),
        ("enable", enable, "give it work from now on"),
        ("disable", disable, "give it no more work; what it carries goes on"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("ids", type=int, nargs="+", metavar="ID")
        verb.set_defaults(do=do)

    verb = verbs.add_parser("refresh", help="ask the providers what credits are left")
    verb.add_argument("ids", type=int, nargs="*", metavar="ID", help="default: all that may work")
    verb.set_defaults(do=_refresh)


def _add(
    command: cli.Command,
    *,
    provider: str,
    secret_env: str | None,
    owner: str | None,
    **options: Any,
) -> None:
    user = User.objects.filter(username=owner).first() if owner else None
    if owner and user is None:
        raise UsageError(f"owner: there is no user {owner!r}.")
    names = ("email", "nickname", "slots", "priority", "daily_cap")
    try:
        credential = adapter_named(provider).credential
        account = services.add_account(
            provider=provider,
            secret=_secret(credential, secret_env) if credential else None,
            owner=user,
            **{name: options[name] for name in names},
        )
    except UnknownProvider as error:
        raise UsageError(f"provider: {error}") from error
    except services.AccountRefused as refused:
        raise CommandError(str(refused)) from refused
    command.stdout.write(f"Added account {account.pk}: {account}.")
    command.stdout.write(f"Test it with: manage.py providers accounts test {account.pk}")


def _list(command: cli.Command, *, provider: str | None, json: bool, **options: Any) -> None:
    accounts = ProviderAccount.objects.order_by("provider_id", "id").select_related("user")
    found = list(accounts.filter(provider_id=provider) if provider else accounts)
    standings = slots.standings([account.pk for account in found])
    pairs = [(account, standings.get(account.pk, Standing())) for account in found]
    if json:
        command.print_json({"accounts": [_described(*pair) for pair in pairs]})
    elif not pairs:
        command.stdout.write(
            "There is no account. Add one with: manage.py providers accounts add PROVIDER EMAIL"
        )
    else:
        heads = ("id", "account", "status", "slots", "health", "cooldown", "credits", "last error")
        command.stdout.write(render(table(heads, map(_row, pairs), texts=len(heads))))


def _test(command: cli.Command, *, ids: Sequence[int], **options: Any) -> None:
    failed = 0
    for account in _named(ids):
        problem = services.test_account(account=account, actor=None)
        failed += problem is not None
        command.stdout.write(f"{account.pk} {account}: {problem or 'works.'}")
    if failed:
        raise CommandError(f"{failed} of {len(ids)} do not work.")


def _switch(
    command: cli.Command, *, ids: Sequence[int], service: Callable[..., bool], result: str, **_: Any
) -> None:
    for account in _named(ids):
        try:
            said = result if service(account=account) else f"was {result} already"
        except services.AccountRefused as refused:
            raise CommandError(f"{account.pk} {refused}") from refused
        command.stdout.write(f"{account.pk} {account}: {said}.")


def _refresh(command: cli.Command, *, ids: Sequence[int], **options: Any) -> None:
    results = credits.refresh(_named(ids) if ids else credits.refreshable())
    for result in results:
        command.stdout.write(f"{result.account.pk} {result.account}: {_balance(result)}")
    if not results:
        command.stdout.write("No account that may work has a provider that tells its credits.")
    if unknown := sum(isinstance(result, credits.Unknown) for result in results):
        raise CommandError(f"The credits of {unknown} of {len(results)} accounts are not known.")


def _named(ids: Sequence[int]) -> list[ProviderAccount]:
    wanted = list(dict.fromkeys(ids))
    found = ProviderAccount.objects.in_bulk(wanted)
    if missing := [str(one) for one in wanted if one not in found]:
        raise UsageError(f"There is no account {', '.join(missing)}. Nothing was done.")
    return [found[one] for one in wanted]


def _secret(credential: str, variable: str | None) -> str:
    if variable:
        if not os.environ.get(variable):
            raise UsageError(f"--secret-env: {variable} is not set.")
        return os.environ[variable].strip()
    if sys.stdin.isatty():
        return getpass.getpass(f"{credential}: ").strip()
    return sys.stdin.readline().strip()


def _balance(result: credits.Balance | credits.Unknown) -> str:
    if isinstance(result, credits.Unknown):
        return result.reason
    text = ", ".join(f"{amount:,} {name}" for name, amount in result.credits.items())
    if result.difference:
        text += f"; {abs(result.difference):g} {'more' if result.difference > 0 else 'less'}"
        text += f" than expected after {result.spent:g} spent"
    elif result.unpriced:
        text += f"; it does not say what {result.unpriced} generations cost"
    return text or "the provider names no credits"


def _described(account: ProviderAccount, standing: Standing) -> dict[str, Any]:
    return {
        "id": account.pk,
        "provider": account.provider_id,
        "email": account.email,
        "nickname": account.nickname,
        "owner": account.user.username if account.user else None,
        "is_private": account.is_private,
        "status": account.status,
        "slots": {"used": standing.used, "limit": account.max_concurrent_jobs},
        "today": {"used": standing.today, "limit": account.max_daily_videos},
        "health": standing.health,
        "cooldown_until": account.cooldown_until and account.cooldown_until.isoformat(),
        "credits": dict(standing.credits),
        "priority": account.priority,
        "secrets": account.stored_credentials,
        "last_used": account.last_used and account.last_used.isoformat(),
        "last_error": account.last_error,
    }


def _row(pair: tuple[ProviderAccount, Standing]) -> Sequence[str]:
    account, standing = pair
    return (
        str(account.pk),
        str(account) + (f", {account.user.username}'s" if account.user else ""),
        account.status,
        f"{standing.used}/{account.max_concurrent_jobs}",
        "-" if standing.health is None else f"{standing.health:.0%}",
        _cooldown(account),
        ", ".join(f"{amount:,} {name}" for name, amount in standing.credits.items()) or "-",
        (account.last_error or "-")[:60],
    )


def _cooldown(account: ProviderAccount) -> str:
    if account.cooldown_until is None:
        return "-"
    left = (account.cooldown_until - timezone.now()).total_seconds()
    return format_duration(left) if left > 0 else "-"
