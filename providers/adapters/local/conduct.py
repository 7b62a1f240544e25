"""How this provider behaves, for load tests and drills; plain by default."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Self

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from providers.adapters.errors import ErrorClass


class Conduct(BaseModel):
    """LOCAL_PROVIDER, an object with any of these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delay_seconds: float = Field(0.0, ge=0)
    """How long a generation takes at least."""
    failure_rate: float = Field(0.0, ge=0, le=1)
    """The share of generations that fail."""
    failures: tuple[ErrorClass, ...] = Field(tuple(ErrorClass), min_length=1)
    """As what they fail, in equal shares."""
    later: bool = False
    """Accept first and be done later, as remote providers are, instead of answering at once."""
    folder: Path | None = None
    """Where accepted generations are remembered; default PIXSIM_HOME/local-generations. Workers
    on several machines need one that they share."""

    @classmethod
    def from_settings(cls) -> Self:
        """Raises ImproperlyConfigured, which names what LOCAL_PROVIDER has wrong."""
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
        """As what the generation with our reference fails; always the same for the same one."""
        digest = hashlib.sha256(reference.encode()).digest()
        if int.from_bytes(digest[:6]) / 2**48 >= self.failure_rate:
            return None
        return self.failures[int.from_bytes(digest[6:12]) % len(self.failures)]
