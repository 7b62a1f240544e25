"""`manage.py providers accounts …`: the accounts we have with providers.

Secrets come from standard input, a prompt or an environment variable, never from the command line,
where other users of the machine and the shell's history could see them. None is ever shown.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.utils import timezone
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pixsim.core.crypto import CredentialsUnreadable
from providers import credits, services, slots
from providers.adapters import UnknownProvider, adapter_named
from providers.adapters.errors import ProviderError
from providers.models import ProviderAccount
from providers.slots import Standing

WRONG_USAGE = 2
Tell = Callable[[str], None]


def add_arguments(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True)

    verb = verbs.add_parser(
        "add", help="add one; its secret is asked for, or read from standard input"
    )
    verb.add_argument("provider", help="its name, as list shows it")
    verb.add_argument("email", help="the log-in there, or a name for it")
    verb.add_argument("--secret-env", metavar="NAME", help="read the secret from this variable")
    verb.add_argument("--nickname")
    verb.add_argument("--slots", type=int, default=2, help="generations it may carry at once (2)")
    verb.add_argument("--priority", type=int, default=0, help="higher is preferred (0)")
    verb.add_argument("--daily-cap", type=int, help="generations per day (UTC)")
    verb.add_argument("--owner", metavar="USERNAME", help="only this user's jobs may use it")
    verb.set_defaults(do=_add)

    verb = verbs.add_parser("list", help="all, with slots, health, cooldown and credits")
    verb.add_argument("--provider")
    verb.add_argument("--json", action="store_true", help="print one object")
    verb.set_defaults(do=_list)

    for name, do, text in (
        ("test", _test, "ask the provider whether the log-in works, at no cost"),
        ("enable", _enable, "let it take work at once"),
        ("disable", _disable, "let it take no more work; what it carries goes on"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("ids", type=int, nargs="+", metavar="ID")
        verb.set_defaults(do=do)

    verb = verbs.add_parser("refresh", help="ask the providers what credits are left")
    verb.add_argument("ids", type=int, nargs="*", metavar="ID", help="default: all that may work")
    verb.set_defaults(do=_refresh)


def _add(
    tell: Tell, *, provider: str, email: str, secret_env: str | None, owner: str | None, **options: Any
) -> None:  # fmt: skip
    user = User.objects.filter(username=owner).first() if owner else None
    if owner and user is None:
        raise _wrong(f"owner: there is no user {owner!r}.")
    try:
        credential = adapter_named(provider).credential
        account = services.add_account(
            provider=provider,
            email=email,
            secret=_secret(credential, secret_env) if credential else None,
            nickname=options["nickname"],
            slots=options["slots"],
            priority=options["priority"],
            daily_cap=options["daily_cap"],
            owner=user,
        )
    except UnknownProvider as error:
        raise _wrong(str(error)) from error
    except services.AccountRefused as refused:
        raise CommandError(str(refused)) from refused
    tell(f"Added account {account.pk}: {account}.")
    tell(f"Test it with: manage.py providers accounts test {account.pk}")


def _list(tell: Tell, *, provider: str | None, json: bool, **options: Any) -> None:
    accounts = ProviderAccount.objects.order_by("provider_id", "id").select_related("user")
    found = list(accounts.filter(provider_id=provider) if provider else accounts)
    standings = slots.standings([account.pk for account in found])
    pairs = [(account, standings.get(account.pk, Standing())) for account in found]
    if json:
        tell(_as_json([_described(*pair) for pair in pairs]))
    elif not pairs:
        tell("There is no account. Add one with: manage.py providers accounts add PROVIDER EMAIL")
    else:
        tell(_table(pairs))


def _test(tell: Tell, *, ids: Sequence[int], **options: Any) -> None:
    failed = 0
    for account in _named(ids):
        try:
            services.test_account(account=account)
        except ProviderError as error:
            failed += 1
            tell(f"{account.pk} {account}: {error.error_class}: {error}")
        except (UnknownProvider, CredentialsUnreadable) as error:
            failed += 1
            tell(f"{account.pk} {account}: {error}")
        else:
            tell(f"{account.pk} {account}: works.")
    if failed:
        raise CommandError(f"{failed} of {len(ids)} do not work.")


def _enable(tell: Tell, *, ids: Sequence[int], **options: Any) -> None:
    for account in _named(ids):
        changed = services.enable_account(account=account)
        tell(f"{account.pk} {account}: {'enabled' if changed else 'was enabled already'}.")


def _disable(tell: Tell, *, ids: Sequence[int], **options: Any) -> None:
    for account in _named(ids):
        changed = services.disable_account(account=account)
        tell(f"{account.pk} {account}: {'disabled' if changed else 'was disabled already'}.")


def _refresh(tell: Tell, *, ids: Sequence[int], **options: Any) -> None:
    results = credits.refresh(_named(ids) if ids else credits.refreshable())
    for result in results:
        tell(f"{result.account.pk} {result.account}: {_balance(result)}")
    if not results:
        tell("No account may work whose provider says what it has.")
    if unknown := sum(isinstance(result, credits.Unknown) for result in results):
        raise CommandError(f"{unknown} of {len(results)} could not be learnt.")


def _named(ids: Iterable[int]) -> list[ProviderAccount]:
    wanted = list(dict.fromkeys(ids))
    found = ProviderAccount.objects.in_bulk(wanted)
    if missing := [str(one) for one in wanted if one not in found]:
        raise _wrong(f"There is no account {', '.join(missing)}. Nothing was done.")
    return [found[one] for one in wanted]


def _secret(credential: str, variable: str | None) -> str:
    if variable:
        if not os.environ.get(variable):
            raise _wrong(f"--secret-env: {variable} is not set.")
        return os.environ[variable].strip()
    if sys.stdin.isatty():
        return getpass.getpass(f"{credential}: ").strip()
    return sys.stdin.readline().strip()


def _balance(result: credits.Balance | credits.Unknown) -> str:
    if isinstance(result, credits.Unknown):
        return result.reason
    told = ", ".join(f"{amount:,} {name}" for name, amount in result.credits.items())
    if result.difference:
        told += f"; {abs(result.difference):g} {'more' if result.difference > 0 else 'less'}"
        told += f" than expected after {result.spent:g} spent"
    elif result.unpriced:
        told += f"; it does not say what {result.unpriced} generations cost"
    return told or "the provider names no credits"


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


def _table(pairs: Sequence[tuple[ProviderAccount, Standing]]) -> str:
    heads = ("id", "account", "status", "slots", "health", "cooldown", "credits", "last error")
    table = Table(*heads, box=SIMPLE_HEAD)
    for account, standing in pairs:
        table.add_row(
            str(account.pk),
            str(account) + (f", {account.user.username}'s" if account.user else ""),
            account.status,
            f"{standing.used}/{account.max_concurrent_jobs}",
            "-" if standing.health is None else f"{standing.health:.0%}",
            _cooldown(account),
            ", ".join(f"{amount:,} {name}" for name, amount in standing.credits.items()) or "-",
            (account.last_error or "-")[:60],
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _cooldown(account: ProviderAccount) -> str:
    if account.cooldown_until is None:
        return "-"
    left = (account.cooldown_until - timezone.now()).total_seconds()
    return f"{left:.0f} s" if left > 0 else "-"


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _wrong(message: str) -> CommandError:
    return CommandError(message, returncode=WRONG_USAGE)
