"""Text and JSON fields that are encrypted in the database.

A value is decrypted when the attribute is read, not when the row is loaded: lists, joins and
saves of other columns need no key, and an untouched secret is written back as it was.
"""

import json
from contextlib import suppress
from typing import Any

from django.core.exceptions import FieldError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.query_utils import DeferredAttribute
from django.views.decorators.debug import sensitive_variables

from pixsim.core.crypto import cipher
from pixsim.core.crypto.cipher import CredentialsUnreadable
from pixsim.core.redaction import declare


class Ciphertext:
    """What the database holds of a secret. Prints as `<encrypted>`."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return "<encrypted>"


class DecryptingAttribute(DeferredAttribute):
    """Decrypts the loaded value at its first use.

    The plaintext then takes its place on the instance, so that a change inside a JSON value is
    saved like any other.
    """

    field: "EncryptedTextField"

    @sensitive_variables()
    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        value = super().__get__(instance, cls)
        if isinstance(value, Ciphertext):
            value = self.field.decrypted(value)
            instance.__dict__[self.field.attname] = value
        return value

    def __set__(self, instance: models.Model, value: Any) -> None:
        # With __set__ this is a data descriptor: reads come here before the instance's dict.
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """A text that is stored as a Fernet token in a `text` column. None stays NULL.

    It cannot be looked up (tokens of equal texts differ), gets no form field (write an input of
    your own that is never rendered back), and is serialised by `dumpdata` as its token. `values()`
    and `values_list()` return an opaque `Ciphertext`.
    """

    descriptor_class = DecryptingAttribute

    def contribute_to_class(self, cls: type[models.Model], name: str, *args: Any) -> None:
        super().contribute_to_class(cls, name, *args)
        declare(name)

    @sensitive_variables()
    def decrypted(self, value: Ciphertext) -> Any:
        """Return the plaintext value. Raises CredentialsUnreadable."""
        return self.loads(cipher.decrypt(value.token, place=self._place))

    def is_set(self, instance: models.Model) -> bool:
        """Whether the instance has a secret here; needs no key."""
        return self._raw(instance) is not None

    def dumps(self, value: Any) -> str:
        return str(value)

    def loads(self, text: str) -> Any:
        return text

    # Django's side of a field

    def from_db_value(
        self, value: str | None, expression: Any, connection: BaseDatabaseWrapper
    ) -> Ciphertext | None:
        return None if value is None else Ciphertext(value)

    @sensitive_variables()
    def to_python(self, value: Any) -> Any:
        """Accept plaintext, and the tokens that `dumpdata` wrote."""
        if isinstance(value, str):
            with suppress(CredentialsUnreadable):
                return self.decrypted(Ciphertext(value))
        return value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        return self._raw(model_instance)

    @sensitive_variables()
    def get_prep_value(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Ciphertext):
            return value.token
        return cipher.encrypt(self.dumps(value))

    def value_to_string(self, obj: models.Model) -> str:
        stored: str = self.get_prep_value(self._raw(obj))
        return stored

    def value_from_object(self, obj: models.Model) -> Any:
        """For serialisers and forms, neither of which may see the plaintext."""
        return Ciphertext(self.value_to_string(obj)) if self.is_set(obj) else None

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise FieldError(
            f"{self._place} is encrypted and cannot be looked up; only __isnull is possible."
        )

    def formfield(self, **kwargs: Any) -> None:
        return None

    def _raw(self, instance: models.Model) -> Any:
        if self.attname not in instance.__dict__:  # deferred
            return getattr(instance, self.attname)
        return instance.__dict__[self.attname]

    @property
    def _place(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}"


class EncryptedJSONField(EncryptedTextField):
    """A JSON value that is stored as a Fernet token in a `text` column. None stays NULL."""

    def dumps(self, value: Any) -> str:
        return json.dumps(value)

    def loads(self, text: str) -> Any:
        return json.loads(text)
