"""The circuit breaker of a provider (M. Nygard, "Release It!"): who does not answer is left alone.

Nothing is kept: the latest submissions tell. When the last few, by whatever account, all ended
because the provider did not answer soundly, its circuit is open, and after a rest one submission
at a time probes it. The first that goes any other way closes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from pixsim.core.db.sql import fetch
from providers.adapters.errors import ErrorClass

BREAKING = 5
"""So many in a row open the circuit."""
REST = timedelta(seconds=15)
"""So long after the last of them the provider is probed."""
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
    """When the provider is asked again."""
    is_probed: bool
    """Whether that is going on."""

    @property
    def room(self) -> int:
        """How many submissions it takes now."""
        return int(self.probed_at <= timezone.now() and not self.is_probed)


def open_circuits(providers: Sequence[str]) -> dict[str, Open]:
    """Those of the providers that do not answer."""
    params: dict[str, Any] = {
        "providers": list(providers),
        "breaking": BREAKING,
        "unanswered": list(map(str, UNANSWERED)),
    }
    return {
        name: Open(probed_at=last + REST, is_probed=bool(probes))
        for name, last, probes in fetch(BROKEN, params)
    }
