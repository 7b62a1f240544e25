"""Use cases of provider accounts: add, test, enable, disable."""

from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts import activity
from accounts.models import Profile
from pixsim.core.crypto import CredentialsUnreadable
from pixsim.core.text import unfit
from providers import error_policy, model_access
from providers.adapters import UnknownProvider, adapter_named
from providers.adapters.errors import ProviderError
from providers.credentials import try_account
from providers.models import AccountStatus, ProviderAccount


class AccountRefused(Exception):
    """The account cannot be added; nothing was stored."""


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
    if adapter.credential is not None and not secret:
        raise AccountRefused(f"An account of {provider} needs its {adapter.credential}.")
    if slots < 1:
        raise AccountRefused("An account that carries nothing is of no use: give it a slot.")
    for column, text in (("email", email), ("nickname", nickname)):
        longest = getattr(ProviderAccount._meta.get_field(column), "max_length", 0)
        if why := unfit(text or "", longest):
            raise AccountRefused(f"{column}: {why}.")
    secrets: dict[str, Any] = {adapter.credential: secret} if adapter.credential else {}
    # The unique constraint does not compare accounts without an owner: NULLs differ.
    known = ProviderAccount.objects.filter(provider_id=provider, email=email, user=owner).first()
    if known:
        raise AccountRefused(f"Account {known.pk} is {email} at {provider} already.")
    try:
        with transaction.atomic():
            account = ProviderAccount.objects.create(
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
            activity.record_change("provider_account", account.pk, "added", actor=actor)
    except IntegrityError as error:
        raise AccountRefused(f"There is an account {email} at {provider} already.") from error
    return account


def test_account(*, account: ProviderAccount) -> str | None:
    """Test the account's credentials at the provider; return why they do not work, None if they do.

    On success an account in error is active again; else the error policy is applied.
    """
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
    """Make the account active without a cooldown, for all models. Return False if it was."""
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
