"""Use cases of provider accounts: add, test, enable, disable."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts import activity
from accounts.models import Profile
from pixsim.core.crypto import CredentialsUnreadable, EncryptedTextField
from pixsim.core.text import unfit
from providers import error_policy, model_access
from providers.adapters import UnknownProvider, adapter_named, all_adapters
from providers.adapters.errors import ProviderError
from providers.credentials import try_account
from providers.models import AccountStatus, ProviderAccount

SECRETS = tuple(
    field.name
    for field in ProviderAccount._meta.concrete_fields
    if isinstance(field, EncryptedTextField)
)
EVERYTHING = frozenset(field.name for field in ProviderAccount._meta.concrete_fields)


class AccountRefused(Exception):
    """The account cannot be added or enabled; nothing was stored."""


@sensitive_variables()
def add_account(
    *,
    provider: str,
    email: str,
    secret: str | None,
    nickname: str | None = None,
    slots: int = 2,
    priority: int = 0,
    daily_cap: int | None = None,
    owner: User | None = None,
    actor: Profile | None = None,
) -> ProviderAccount:
    """Add an account. With an `owner` only that person's jobs use it.

    `secret` is the credential that the adapter needs (`Adapter.credential`). Raise UnknownProvider
    or AccountRefused.
    """
    adapter = adapter_named(provider)
    secrets: dict[str, Any] = {adapter.credential: secret} if adapter.credential and secret else {}
    account = ProviderAccount(
        provider_id=provider,
        email=email,
        nickname=nickname,
        max_concurrent_jobs=slots,
        priority=priority,
        max_daily_videos=daily_cap,
        user=owner,
        is_private=owner is not None,
        **secrets,
    )
    if problems := problems_of(account, EVERYTHING, secrets=secrets):
        raise AccountRefused(" ".join(f"{name}: {text}" for name, text in problems.items()))
    try:
        with transaction.atomic():
            account.save(force_insert=True)
            activity.record_change("provider_account", account.pk, "added", actor=actor)
    except IntegrityError as error:
        raise AccountRefused(f"There is an account {email} at {provider} already.") from error
    return account


def problems_of(
    account: ProviderAccount, changed: Collection[str], *, secrets: Collection[str]
) -> dict[str, str]:
    """Return what is wrong with the `changed` columns of an account, by column.

    The one rule of the form and of the commands. `secrets` are the names of those that it will have.
    """
    problems: dict[str, str] = {}
    adapter = all_adapters().get(account.provider_id)
    if "provider_id" in changed and adapter is None:
        known = ", ".join(all_adapters())
        problems["provider_id"] = f"There is no such provider; there is: {known}."
    if "email" in changed:
        try:
            validate_email(account.email)
        except ValidationError:
            problems["email"] = "This is no e-mail address, as name@example.org."
    if "max_concurrent_jobs" in changed and account.max_concurrent_jobs < 1:
        text = "An account that carries nothing is of no use: give it a slot, or disable it."
        problems["max_concurrent_jobs"] = text
    if "max_daily_videos" in changed and (account.max_daily_videos or 0) < 0:
        problems["max_daily_videos"] = "There cannot be fewer than none a day."
    for name in {"email", "nickname"} & set(changed):
        longest = getattr(ProviderAccount._meta.get_field(name), "max_length", 0)
        if why := unfit(getattr(account, name) or "", longest):
            problems[name] = f"{why}."
    if {"provider_id", "status", *SECRETS} & set(changed) and (why := _lacks(account, secrets)):
        problems["status"] = why
    # The unique constraint does not compare accounts without an owner: NULLs differ.
    same = ProviderAccount.objects.filter(
        provider_id=account.provider_id, email=account.email, user=account.user_id
    ).exclude(pk=account.pk)
    if {"provider_id", "email", "user"} & set(changed) and (known_as := same.first()):
        text = f"Account {known_as.pk} is {account.email} at {account.provider_id} already."
        problems.setdefault("email", text)
    return problems


def _lacks(account: ProviderAccount, secrets: Collection[str]) -> str:
    """Return which secret an active account lacks to work; empty if none."""
    adapter = all_adapters().get(account.provider_id)
    credential = adapter.credential if adapter else None
    if account.status != AccountStatus.ACTIVE or credential is None or credential in secrets:
        return ""
    return f"An account of {account.provider_id} needs its {credential} before it can be active."


def test_account(*, account: ProviderAccount, actor: Profile | None) -> str | None:
    """Test the account's credentials at the provider; return why they do not work, None if they do.

    On success an account in error is active again; else the error policy is applied.
    """
    activity.record_change("provider_account", account.pk, "tested", actor=actor)
    try:
        try_account(account)
    except ProviderError as error:
        error_policy.apply(account.pk, error)
        return f"{error.error_class}: {error}"
    except (UnknownProvider, CredentialsUnreadable) as error:
        return str(error)
    ProviderAccount.objects.filter(pk=account.pk, status=AccountStatus.ERROR).update(
        status=AccountStatus.ACTIVE,
        failure_streak=0,
        last_error=None,
        updated_at=timezone.now(),
    )
    return None


def enable_account(*, account: ProviderAccount, actor: Profile | None = None) -> bool:
    """Make the account active without a cooldown, for all models. Return False if it was.

    Raise AccountRefused if it lacks the secret that its provider needs.
    """
    wanted = ProviderAccount(provider_id=account.provider_id, status=AccountStatus.ACTIVE)
    if why := _lacks(wanted, account.stored_credentials):
        raise AccountRefused(f"{account}: {why}")
    model_access.forget(account.pk)
    return _set(
        account, actor, "enabled", status=AccountStatus.ACTIVE, cooldown_until=None,
        failure_streak=0,
    )  # fmt: skip


def disable_account(*, account: ProviderAccount, actor: Profile | None = None) -> bool:
    """Give the account no more work; live submissions go on. Return False if it was disabled."""
    return _set(account, actor, "disabled", status=AccountStatus.DISABLED)


def clear_cooldown(*, account: ProviderAccount, actor: Profile | None = None) -> bool:
    """End the account's cooldown now, and try refused models again. Return False if it has none."""
    model_access.forget(account.pk)
    return _set(account, actor, "cooldown_cleared", cooldown_until=None, failure_streak=0)


@transaction.atomic
def _set(account: ProviderAccount, actor: Profile | None, what: str, **values: Any) -> bool:
    changed = (
        ProviderAccount.objects.filter(pk=account.pk)
        .exclude(**values)
        .update(**values, updated_at=timezone.now())
    )
    if changed:
        activity.record_change("provider_account", account.pk, what, actor=actor)
    return bool(changed)
