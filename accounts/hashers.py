"""Passwords that an older system hashed with bcrypt."""

from typing import Any

import bcrypt
from django.contrib.auth.hashers import BasePasswordHasher, mask_hash
from django.utils.translation import gettext_noop
from django.views.decorators.debug import sensitive_variables

MAX_BYTES = 72
"""bcrypt never read more of a password; version 5 of the library refuses longer ones."""


class LegacyBcryptHasher(BasePasswordHasher):
    """Verifies `bcrypt_legacy$<hash>`, where the hash is the older system's, as it stood there.

    It makes no hashes: a log-in with such a password stores a hash of the preferred hasher.
    """

    algorithm = "bcrypt_legacy"
    library = "bcrypt"

    @sensitive_variables("password")
    def verify(self, password: str, encoded: str) -> bool:
        try:
            return bcrypt.checkpw(password.encode()[:MAX_BYTES], _original(encoded).encode())
        except ValueError:
            # Not a hash that bcrypt knows, so no password fits it.
            return False

    def safe_summary(self, encoded: str) -> dict[Any, Any]:
        _, version, cost, salt_and_hash = (_original(encoded).split("$") + [""] * 4)[:4]
        return {
            gettext_noop("algorithm"): f"{self.algorithm} ({version})",
            gettext_noop("work factor"): cost,
            gettext_noop("salt"): mask_hash(salt_and_hash[:22]),
            gettext_noop("checksum"): mask_hash(salt_and_hash[22:]),
        }

    def must_update(self, encoded: str) -> bool:
        return True

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Do nothing: the cost of a hash is the older system's."""


def encode_legacy(original: str) -> str:
    """Return what Django stores for a bcrypt hash of an older system."""
    return f"{LegacyBcryptHasher.algorithm}${original}"


def _original(encoded: str) -> str:
    return encoded.partition("$")[2]
