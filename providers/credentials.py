"""An account's secrets in the form that adapters use, and a test of them."""

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
    """Return the account's secrets; a paid key is preferred to a free one."""
    cookies: Any = account.cookies  # JSON
    return Credentials(
        api_key=account.api_key_paid or account.api_key,
        email=account.email,
        password=account.password,
        jwt_token=account.jwt_token,
        cookies=cookies,
    )


def try_account(account: ProviderAccount) -> None:
    """Return if the provider accepts the account's credentials; the call costs nothing.

    Raise ProviderError if it refuses them or cannot be reached, UnknownProvider if there is no
    adapter, CredentialsUnreadable if no key of ours decrypts the secrets.
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
