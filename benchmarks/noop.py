"""Chunks whose work does nothing, or sleeps: real rows, indexes and counters, no fetching."""

import os
import time
from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from crawler import counters
from crawler.work import JOB_IS_OPEN, ChunkKind
from jobs.queue.kinds import Completed, Ending, Left, Work

SECONDS = float(os.environ.get("NOOP_SECONDS", "0"))


class NoopChunks(ChunkKind):
    runnable_sql = JOB_IS_OPEN  # needs no source

    def perform(self, work: Work) -> Ending:
        if SECONDS:
            time.sleep(SECONDS)
        return Completed()

    def record_left(self, cursor: CursorWrapper, left: Sequence[Left]) -> None:
        counters.add_chunks(cursor, left)

    def repair(self) -> None:
        """No candidates to tidy."""
