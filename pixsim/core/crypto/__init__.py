"""Secrets at rest: model fields that PostgreSQL only ever sees encrypted."""

from pixsim.core.crypto.cipher import CredentialsUnreadable
from pixsim.core.crypto.fields import EncryptedJSONField, EncryptedTextField

__all__ = ["CredentialsUnreadable", "EncryptedJSONField", "EncryptedTextField"]
