"""The circuit breaker of a provider (M. Nygard, "Release It!").

No state is stored: it follows from the latest submissions. When the last BREAKING of them, of any
account, all ended because the provider gave no valid answer, the circuit is open. After
COOLDOWN one submission at a time probes the provider. The first valid answer closes the circuit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from pixsim.core.db.sql import fetch
from providers.adapters.errors import ErrorClass

BREAKING = 5
"""Failures in a row that open the circuit."""
COOLDOWN = timedelta(seconds=15)
"""Time from the last failure to the next probe."""
UNANSWERED = [ErrorClass.UNAVAILABLE, ErrorClass.TIMEOUT, ErrorClass.UNKNOWN]

# A submission that may have been accepted is live; it counts by when it was sent.
BROKEN = """
SELECT provider.name, max(coalesce(latest.responded_at, latest.submitted_at)),
       (SELECT count(*) FROM provider_submissions probe
        WHERE probe.provider_id = provider.name AND probe.reference IS NOT NULL
          AND probe.status = 'pending')
FROM unnest(%(providers)s::text[]) AS provider (name)
CROSS JOIN LATERAL (
    SELECT error_class, responded_at, submitted_at FROM provider_submissions
    WHERE provider_id = provider.name AND reference IS NOT NULL
      AND (responded_at IS NOT NULL OR error_class IS NOT NULL)
    ORDER BY submitted_at DESC LIMIT %(breaking)s) latest
GROUP BY provider.name
HAVING count(*) = %(breaking)s
   AND bool_and(coalesce(latest.error_class = ANY(%(unanswered)s), FALSE))
"""


@dataclass(frozen=True)
class Open:
    """A circuit that is open."""

    probed_at: datetime
    """When the next probe may be sent."""
    is_probed: bool
    """Whether a probe is under way."""

    @property
    def room(self) -> int:
        """How many submissions may be sent now: 0 or 1."""
        return int(self.probed_at <= timezone.now() and not self.is_probed)


def open_circuits(providers: Sequence[str]) -> dict[str, Open]:
    """Return the open circuits among these providers, by provider."""
    params: dict[str, Any] = {
        "providers": list(providers),
        "breaking": BREAKING,
        "unanswered": list(map(str, UNANSWERED)),
    }
    return {
        name: Open(probed_at=last + COOLDOWN, is_probed=bool(probes))
        for name, last, probes in fetch(BROKEN, params)
    }
