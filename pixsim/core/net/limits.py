"""What one fetch may cost."""

from dataclasses import dataclass, fields
from typing import Self

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one fetch, redirects included. Times are seconds.

    `connect_timeout` is per address tried, `read_timeout` the longest silence, and
    `min_bytes_per_second` the slowest average of a body; it is judged only after a third of
    `read_timeout`, so that one lost packet ends nothing.
    """

    max_bytes: int
    connect_timeout: float
    read_timeout: float
    total_timeout: float
    min_bytes_per_second: float
    max_redirects: int

    @classmethod
    def from_settings(cls) -> Self:
        """Read each bound from the setting of its name, as in CRAWL_MAX_BYTES."""
        return cls(*(getattr(settings, f"CRAWL_{each.name.upper()}") for each in fields(cls)))
