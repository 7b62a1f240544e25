"""Accepted generations that are done later: one small file each, by our reference."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from pixsim.core.private import close_folder

KEPT_SECONDS = 7 * 24 * 3600.0
SWEEP_SECONDS = 3600.0


class Generation(BaseModel):
    """One generation that was accepted. Times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    reference: str
    operation: str
    model: str
    params: dict[str, Any]
    accepted_at: float
    ready_at: float
    cancelled_at: float | None = None

    def cancelled(self, now: float) -> Self:
        """Return the generation after a cancel, which has no effect once it is ready."""
        return self if now >= self.ready_at else self.model_copy(update={"cancelled_at": now})


class Memory:
    """Generations in a folder; each is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, reference: str) -> Generation | None:
        """Return the generation with our reference, if it was accepted."""
        try:
            return Generation.model_validate_json(self._path(reference).read_bytes())
        except FileNotFoundError:
            return None

    def keep(self, generation: Generation) -> None:
        """Store a generation in its present state."""
        close_folder(self._folder)
        unfinished = self._folder / f"{uuid4().hex}.part"
        unfinished.write_text(generation.model_dump_json())
        unfinished.replace(self._path(generation.reference))
        self._sweep()

    def _path(self, reference: str) -> Path:
        # A reference may contain characters that a file name must not.
        return self._folder / f"{hashlib.sha256(reference.encode()).hexdigest()}.json"

    def _sweep(self) -> None:
        """Delete old generations, at most once in SWEEP_SECONDS."""
        now, mark = time.time(), self._folder / ".swept"
        with suppress(FileNotFoundError):
            if now - mark.stat().st_mtime < SWEEP_SECONDS:
                return
        mark.touch()
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):
                if entry.path != str(mark) and now - entry.stat().st_mtime > KEPT_SECONDS:
                    os.unlink(entry.path)
