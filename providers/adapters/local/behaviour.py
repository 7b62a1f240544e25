"""How this provider behaves, for load tests and drills; without settings nothing fails."""

import hashlib
from pathlib import Path
from typing import Self

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from providers.adapters.errors import ErrorClass, ProviderError


class Behaviour(BaseModel):
    """LOCAL_PROVIDER, an object with any of these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delay_seconds: float = Field(0.0, ge=0)
    """How long a generation takes at least."""
    failure_rate: float = Field(0.0, ge=0, le=1)
    """The share of generations that fail."""
    failures: tuple[ErrorClass, ...] = Field(tuple(ErrorClass), min_length=1)
    """The error classes with which they fail, in equal shares."""
    later: bool = False
    """Accept first and be done later, as remote providers are, instead of answering at once."""
    folder: Path | None = None
    """Where accepted generations are stored; default PIXSIM_HOME/local-generations. Workers on
    several machines need one that they share."""

    @classmethod
    def from_settings(cls) -> Self:
        """Return the behaviour. Raises ImproperlyConfigured, which names the wrong setting."""
        try:
            return cls.model_validate(getattr(settings, "LOCAL_PROVIDER", {}))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise ImproperlyConfigured(f"LOCAL_PROVIDER: {name}: {first['msg']}.") from error

    @property
    def memory(self) -> Path:
        return self.folder or settings.PIXSIM_HOME / "local-generations"

    def failure_of(self, reference: str) -> ErrorClass | None:
        """Return with which class the generation of this reference fails; always the same."""
        digest = hashlib.sha256(reference.encode()).digest()
        if int.from_bytes(digest[:6]) / 2**48 >= self.failure_rate:
            return None
        return self.failures[int.from_bytes(digest[6:12]) % len(self.failures)]

    def error(self, error_class: ErrorClass) -> ProviderError:
        """Return the error of a failure that LOCAL_PROVIDER asked for."""
        waits = error_class in (ErrorClass.RATE_LIMIT, ErrorClass.CONCURRENT_LIMIT)
        return ProviderError(
            error_class,
            f"It failed as {error_class} on purpose: LOCAL_PROVIDER sets a failure rate.",
            code="drill",
            retry_after=1.0 if waits else None,
        )
