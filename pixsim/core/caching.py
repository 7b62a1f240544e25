"""A result that is computed at most once in a while, however many ask for it."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class CachedFor(Generic[T]):
    """Call `compute` at most once in `seconds`; meanwhile, return what it returned.

    Those who ask at the same time wait for one call. An exception is not kept.
    """

    def __init__(self, seconds: float, compute: Callable[[], T]) -> None:
        self._seconds = seconds
        self._compute = compute
        self._kept: tuple[float, T] | None = None
        self._guard = threading.Lock()

    def __call__(self) -> T:
        with self._guard:
            if self._kept is None or time.monotonic() >= self._kept[0]:
                value = self._compute()
                self._kept = time.monotonic() + self._seconds, value
            return self._kept[1]

    def forget(self) -> None:
        """Compute anew at the next call."""
        self._kept = None
