"""The checker: a thread that sends fetched files to the decoder and stores the good pictures."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import unquote_to_bytes, urlsplit

from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages

from crawler.fetch.decoder_client import Decoder
from crawler.fetch.examine import GOOD, LATER, Verdict
from crawler.fetch.hosts import Item
from crawler.fetch.sessions import Session
from crawler.fetch.tasks import (
    EngineFailed,
    Picture,
    Refused,
    Result,
    StorageFull,
    refused_by,
)
from pixsim.core import blobs
from pixsim.core.beneath import NotAFile, Outside, open_beneath
from pixsim.core.confined import Unavailable

BATCH_PICTURES = 32
BATCH_BYTES = 1024**2
REMOTE_STORE_THREADS = 16
SUFFIXES = {"jpeg": ".jpg", "tiff": ".tif"}


class Checker(threading.Thread):
    """Takes items with a body (or a local address), delivers results to their sessions.

    `on_done` is called from this thread with the items whose bytes are needed no longer. While
    the decoder works on one batch, the good pictures of the batch before are stored. Pictures that
    may take long are handed to `later`, so that others never wait behind one.
    """

    def __init__(
        self,
        on_done: Callable[[list[Item]], None],
        *,
        later: Callable[[Item], None] | None = None,
    ) -> None:
        super().__init__(name="pixsim-checker", daemon=True)
        self.decoder = Decoder(max_pixels=settings.CRAWL_MAX_PIXELS, quick=later is not None)
        self._on_done = on_done
        self._later = later
        self._most = BATCH_PICTURES if later else 1
        self._waiting: deque[Item] = deque()  # The rest of a batch over which the decoder died.
        self._inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._good: list[tuple[Item, Verdict]] = []
        # A local disk is faster than a change of threads; a remote bucket is slow.
        is_local = isinstance(storages["blobs"], FileSystemStorage)
        self._pool = None if is_local else ThreadPoolExecutor(REMOTE_STORE_THREADS, "pixsim-store")
        self._roots = list(settings.CRAWL_FOLDER_ROOTS)

    # From other threads

    def put(self, item: Item) -> None:
        self._inbox.put(item)

    def close(self) -> None:
        """End the thread, when it has done what waits, and the decoder."""
        self._inbox.put(None)
        self.join()
        self.decoder.close()
        if self._pool is not None:
            self._pool.shutdown()

    # The thread

    def run(self) -> None:
        while (batch := self._next_batch(wait=not self._good)) is not None:
            try:
                self._examine(batch)
            except Exception as error:
                self._fail(batch, EngineFailed(f"The checker failed: {error!r}"))
        self._store_good()

    def _next_batch(self, *, wait: bool) -> list[Item] | None:
        """Return what waits, at most a batch; without `wait` it may be empty. None ends the thread."""
        batch: list[Item] = []
        size = 0
        while len(batch) < self._most and size < BATCH_BYTES:
            try:
                item = self._next(wait=wait and not batch)
            except queue.Empty:
                break
            if item is None:
                self._inbox.put(None)  # Seen again when the batch is done.
                return batch or None
            if self._is_ready(item):
                batch.append(item)
                size += len(item.body)
        return batch

    def _next(self, *, wait: bool) -> Item | None:
        return self._waiting.popleft() if self._waiting else self._inbox.get(block=wait)

    def _is_ready(self, item: Item) -> bool:
        """Return whether the item has a body to examine. Read it now if it is a local file."""
        if not item.session.cancelled:
            try:
                refused = None if item.body else self._read(item)
            except Exception as error:
                refused = refused_by(error, item.task)
            refused = refused or item.session.refusal_of_host(item.task)
            if refused is None:
                return True
            item.session.deliver([refused])
        self._on_done([item])
        return False

    def _read(self, item: Item) -> Refused | None:
        task, most = item.task, item.session.rules.max_bytes
        try:
            with open_beneath(_path_of(task.url), self._roots) as file:
                item.body = file.read(most + 1)
        except Outside:
            return Refused(task, "blocked_address", "outside CRAWL_FOLDER_ROOTS")
        except NotAFile:
            return Refused(task, "not_an_image", "not a regular file")
        except (OSError, ValueError) as error:
            return Refused(task, "unreadable_file", _reason(error))
        if len(item.body) > most:
            return Refused(task, "too_large", f"more than {most} bytes")
        if not item.body:
            return Refused(task, "not_an_image", "empty")
        item.retrieved_at = datetime.now(UTC)
        return None

    def _examine(self, batch: list[Item]) -> None:
        try:
            verdicts = self._verdicts(batch) if batch else []
        except Unavailable as error:
            self._fail(batch, EngineFailed(str(error)))
            return
        self._store_good()  # the decoder may have ended before it called this
        refused: list[tuple[Item, Result | EngineFailed | None]] = []
        self._waiting.extend(batch[len(verdicts) :])
        for item, verdict in zip(batch, verdicts, strict=False):
            if verdict.outcome == GOOD:
                self._good.append((item, verdict))
            elif verdict.outcome == LATER and self._later is not None:
                self._later(item)
            else:
                refused.append((item, Refused(item.task, verdict.outcome, verdict.detail)))
        self._finish(refused)

    def _verdicts(self, batch: list[Item]) -> list[Verdict]:
        """Return what the first pictures of a batch are. Raise Unavailable.

        Over any other error each is examined alone, and refused if it causes it again.
        """
        pictures = [(item.body, item.session.checks) for item in batch]
        try:
            return self.decoder.examine(pictures, meanwhile=self._store_good)
        except Unavailable:
            raise
        except Exception as error:
            self.decoder.close()  # it may have been stopped in the middle of a batch
            if len(batch) > 1:
                return [verdict for item in batch for verdict in self._verdicts([item])]
            refused = refused_by(error, batch[0].task)
            return [Verdict(refused.outcome, refused.detail)]

    def _store_good(self) -> None:
        good, self._good = self._good, []
        results = self._pool.map(self._store, good) if self._pool else map(self._store, good)
        self._finish([(item, result) for (item, _), result in zip(good, results, strict=True)])

    def _store(self, pair: tuple[Item, Verdict]) -> Picture | EngineFailed | None:
        """Store one picture, or return why that failed; None if its session was cancelled."""
        item, verdict = pair
        if item.session.cancelled:
            return None
        digest = sha256(item.body).hexdigest()
        suffix = SUFFIXES.get(verdict.format, f".{verdict.format}")
        try:
            key = blobs.put(item.body, suffix=suffix, sha256=digest)
        except blobs.BlobStorageFull as error:
            return StorageFull(str(error))
        except Exception as error:
            return EngineFailed(str(error))
        return Picture(
            task=item.task,
            url=item.url,
            sha256=digest,
            phash=verdict.phash,
            width=verdict.width,
            height=verdict.height,
            format=verdict.format,
            file_size=len(item.body),
            key=key,
            retrieved_at=item.retrieved_at,
        )

    def _finish(self, finished: Sequence[tuple[Item, Result | EngineFailed | None]]) -> None:
        """Deliver each session's results at once, then its failure; then the bytes are freed."""
        by_session: dict[Session, list[Result]] = {}
        for item, result in finished:
            if isinstance(result, Picture | Refused):
                by_session.setdefault(item.session, []).append(result)
        for session, results in by_session.items():
            session.deliver(results)
        for item, result in finished:
            if isinstance(result, EngineFailed):
                item.session.fail(result)
        if finished:
            self._on_done([item for item, _ in finished])

    def _fail(self, batch: list[Item], failure: EngineFailed) -> None:
        for session in {item.session for item in batch}:
            session.fail(failure)
        self._on_done(batch)


def _path_of(url: str) -> bytes:
    """Return the path of a file: address. Raise Outside for a file of another machine."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise Outside
    return unquote_to_bytes(parts.path)


def _reason(error: OSError | ValueError) -> str:
    """Return what is wrong with a local file, without its path."""
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
