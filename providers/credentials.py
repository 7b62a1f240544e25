"""An account's secrets in the form that adapters use, and calls of one account."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import aiohttp

from providers.adapters import Adapter, adapter_named, base_url_of
from providers.adapters.base import Credentials
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.models import ProviderAccount

ASK_SECONDS = 20.0

Answer = TypeVar("Answer")


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


def open_session() -> aiohttp.ClientSession:
    """Return a session for calls to providers, which shares nothing between accounts."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


async def ask(
    session: aiohttp.ClientSession,
    adapter: Adapter,
    call: Callable[[Http, Credentials], Awaitable[Answer]],
    credentials: Credentials,
) -> Answer:
    """Return what one of the adapter's calls answers.

    Raise ProviderError, also after ASK_SECONDS and for an answer that the adapter cannot read.
    """
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await call(Http(session, base_url_of(adapter)), credentials)
    except TimeoutError as error:
        message = f"No answer within {ASK_SECONDS:g} seconds."
        raise ProviderError(ErrorClass.TIMEOUT, message) from error
    except ProviderError:
        raise
    except Exception as error:
        message = f"The answer cannot be read: {type(error).__name__}: {error}"
        raise ProviderError(ErrorClass.UNKNOWN, message) from error


def models_of(account: ProviderAccount) -> Sequence[str]:
    """Return the models that the provider names to the account, where `can_list_models`.

    Raise as `try_account` does.
    """
    adapter, credentials = adapter_named(account.provider_id), credentials_of(account)

    async def models() -> Sequence[str]:
        async with open_session() as session:
            return await ask(session, adapter, adapter.models, credentials)

    return asyncio.run(models())


def try_account(account: ProviderAccount) -> None:
    """Return if the provider accepts the account's credentials; the call costs nothing.

    Raise ProviderError if it refuses them or cannot be reached, UnknownProvider if there is no
    adapter, CredentialsUnreadable if no key of ours decrypts the secrets.
    """
    adapter, credentials = adapter_named(account.provider_id), credentials_of(account)

    async def test() -> None:
        async with open_session() as session:
            await ask(session, adapter, adapter.test, credentials)

    asyncio.run(test())
