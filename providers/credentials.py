"""An account's secrets as an adapter takes them, and whether the provider takes them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from providers.adapters import adapter_named, base_url_of
from providers.adapters.base import Credentials
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.models import ProviderAccount

TRY_SECONDS = 20.0


def credentials_of(account: ProviderAccount) -> Credentials:
    """The account's secrets; a paid key is preferred to a free one."""
    cookies: Any = account.cookies  # JSON
    return Credentials(
        api_key=account.api_key_paid or account.api_key,
        email=account.email,
        password=account.password,
        jwt_token=account.jwt_token,
        cookies=cookies,
    )


def try_account(account: ProviderAccount) -> None:
    """Return if the provider takes the account's credentials now; it costs nothing.

    Raises ProviderError if it does not or cannot be asked, UnknownProvider if there is no adapter,
    CredentialsUnreadable if no key of ours opens the secrets.
    """
    asyncio.run(_try(account))


async def _try(account: ProviderAccount) -> None:
    adapter = adapter_named(account.provider_id)
    credentials = credentials_of(account)
    session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
    try:
        async with asyncio.timeout(TRY_SECONDS), session:
            await adapter.test(Http(session, base_url_of(adapter)), credentials)
    except TimeoutError as error:
        raise ProviderError(
            ErrorClass.TIMEOUT, f"No answer within {TRY_SECONDS:g} seconds."
        ) from error
