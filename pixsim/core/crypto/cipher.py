"""Fernet under the keys of `settings.CREDENTIALS_KEYS`.

The first key encrypts, every key decrypts: put a new key in front, and what the old keys wrote
stays readable for as long as they are listed.
"""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class CredentialsUnreadable(Exception):
    """A stored secret was written with a key that is not in `CREDENTIALS_KEYS`."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"{place} cannot be read with any key in CREDENTIALS_KEYS. Nothing was changed. Put "
            "the key it was written with back into CREDENTIALS_KEYS, after the first, or set the "
            "secret again."
        )


def encrypt(plaintext: str) -> str:
    """Return a Fernet token of `plaintext` under the first key."""
    return _cipher().encrypt(plaintext.encode()).decode()


def decrypt(token: str, *, place: str) -> str:
    """Return the plaintext of `token`.

    `place` names the column in the error. Raises CredentialsUnreadable, which carries neither
    the token nor any part of the secret.
    """
    try:
        return _cipher().decrypt(token.encode()).decode()
    except InvalidToken:
        raise CredentialsUnreadable(place) from None


def is_current(token: str) -> bool:
    """Whether the first key wrote `token`."""
    _cipher()  # which names a key that is none
    try:
        Fernet(settings.CREDENTIALS_KEYS[0]).decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def rotated(token: str, *, place: str) -> str:
    """Return `token` encrypted anew, under the first key. Raises CredentialsUnreadable."""
    try:
        return _cipher().rotate(token.encode()).decode()
    except InvalidToken:
        raise CredentialsUnreadable(place) from None


def _cipher() -> MultiFernet:
    return _cipher_for(tuple(settings.CREDENTIALS_KEYS))


@lru_cache(maxsize=8)
def _cipher_for(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured(
            "CREDENTIALS_KEYS is empty. Make a key with `python -c 'from cryptography.fernet "
            "import Fernet; print(Fernet.generate_key().decode())'` and set CREDENTIALS_KEYS to it."
        )
    return MultiFernet([_fernet(key, number) for number, key in enumerate(keys, start=1)])


def _fernet(key: str, number: int) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise ImproperlyConfigured(
            f"Key {number} of CREDENTIALS_KEYS is not a Fernet key (32 bytes in url-safe base64)."
        ) from None
