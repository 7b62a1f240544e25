"""Figures that many look at, computed at most once in a while by one process for all.

The row of `shared_figures` is claimed for the computation, by an UPDATE that only one process wins;
no lock is held meanwhile, so this works behind a pooler, and a process that dies loses its claim.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import Error as DatabaseError
from django.utils import timezone
from psycopg.types.json import Jsonb

from pixsim.core.db.sql import fetch

CLAIM_SECONDS = 30
"""So long may a computation take, before another process begins it anew."""
OLDEST_SECONDS = 60
"""While others compute, figures are shown that are at most so old."""
PATIENCE_SECONDS = 10
COST = 10
"""What took a second to compute is kept for so many seconds."""

READ = """/* queue:shared_figures */
SELECT value::json, taken_at, valid_until > statement_timestamp(),
       claimed_until > statement_timestamp()
           AND taken_at > statement_timestamp() - make_interval(secs => %(oldest)s)
FROM shared_figures WHERE name = %(name)s AND value IS NOT NULL
"""
CLAIM = """
INSERT INTO shared_figures AS old (name, claimed_until)
VALUES (%(name)s, statement_timestamp() + make_interval(secs => %(claim)s))
ON CONFLICT (name) DO UPDATE SET claimed_until = EXCLUDED.claimed_until
WHERE coalesce(old.claimed_until <= statement_timestamp(), true)
  AND coalesce(old.valid_until <= statement_timestamp(), true)
RETURNING name
"""
WRITE = """
UPDATE shared_figures SET value = %(value)s, taken_at = statement_timestamp(), claimed_until = NULL,
    valid_until = statement_timestamp() + make_interval(secs => %(seconds)s)
WHERE name = %(name)s
"""
RELEASE = "UPDATE shared_figures SET claimed_until = NULL WHERE name = %(name)s"


@dataclass(frozen=True)
class Shared:
    """What `compute` returned, and when."""

    value: Any
    taken_at: datetime


def shared(name: str, compute: Callable[[], Any], *, seconds: float) -> Shared:
    """Return what `compute` returned at most `seconds` ago, here or in another process.

    It returns what JSON can hold. What is expensive is kept for longer. While another process
    computes, what there is from before is returned, or waited for.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for value, taken_at, is_valid, will_do in fetch(
            READ, {"name": name, "oldest": OLDEST_SECONDS}
        ):
            if is_valid or will_do:
                return Shared(value, taken_at)
        if fetch(CLAIM, {"name": name, "claim": CLAIM_SECONDS}):
            return _computed(name, compute, seconds)
        time.sleep(0.1)
    return Shared(compute(), timezone.now())


def _computed(name: str, compute: Callable[[], Any], seconds: float) -> Shared:
    started = time.monotonic()
    try:
        value = compute()
    except BaseException:
        with suppress(DatabaseError):
            fetch(RELEASE, {"name": name})
        raise
    took = time.monotonic() - started
    keep = {"name": name, "value": Jsonb(value), "seconds": max(seconds, COST * took)}
    fetch(WRITE, keep)
    return Shared(value, timezone.now())
