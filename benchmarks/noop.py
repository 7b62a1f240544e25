"""Chunks whose work does nothing: real rows, indexes and counters, no fetching."""

from collections.abc import Sequence
from typing import Any

from crawler import counters
from crawler.work import ChunkKind
from jobs.queue.kinds import Left
from jobs.queue.work import Completed, Ending, Work


class NoopChunks(ChunkKind):
    def perform(self, work: Work) -> Ending:
        return Completed()

    def record_left(self, cursor: Any, left: Sequence[Left]) -> None:
        counters.add_chunks(cursor, left)

    def tidy(self) -> None:
        """No candidates to tidy."""
