"""A worker's own metrics, on its own port: what no other process knows.

Attempts end in the pool's processes, and the parent answers. So the counts are in memory that was
shared before the fork, with a row for each process, as in `shared_state`. The counters of the web
site's /metrics come from the database: they survive restarts, and know all workers.
"""

import ctypes
import logging
import mmap
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.conf import settings
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from jobs.models import AttemptOutcome
from jobs.queue.kinds import all_kinds
from jobs.queue.ops.trends import TIME_BOUNDS, place_of
from jobs.queue.worker import identity, shared_state
from pixsim.core.net.bearer import has_token

logger = logging.getLogger(__name__)

Key = tuple[str, ...]
"""Name of a counter and its labels."""

_places: dict[Key, int] = {}
_memory: mmap.mmap | None = None
_guard = threading.Lock()


def begin() -> None:
    """Count from now on. Call it in the parent, before it forks."""
    global _memory
    keys: list[Key] = [("notifications", "sent"), ("notifications", "failed")]
    for kind in all_kinds():
        keys += [("attempts", kind.name, outcome) for outcome in AttemptOutcome.values]
        keys += [("seconds", kind.name, str(place)) for place in range(len(TIME_BOUNDS) + 1)]
        keys.append(("seconds_sum", kind.name))
    _places.update((key, place) for place, key in enumerate(keys))
    _memory = mmap.mmap(-1, shared_state.MAX_CHILDREN * _row_size())


def is_counting() -> bool:
    return _memory is not None


def add(key: Key, amount: float = 1.0) -> None:
    """Add to a counter of this process."""
    if _memory is not None:
        with _guard:
            _row(os.getpid() % shared_state.MAX_CHILDREN)[_places[key]] += amount


def add_attempts(kind: str, ended: Iterable[tuple[str, float]]) -> None:
    """Count attempts that ended: outcome, seconds."""
    for outcome, seconds in ended:
        add(("attempts", kind, outcome))
        if outcome in (AttemptOutcome.COMPLETED, AttemptOutcome.FAILED):
            add(("seconds", kind, str(place_of(seconds))))
            add(("seconds_sum", kind), seconds)


def totals() -> dict[Key, float]:
    """Return the sums over all processes that this worker has had."""
    rows = [_row(number) for number in range(shared_state.MAX_CHILDREN)]
    used = [row[:] for row in rows if any(row)]
    return {key: sum(row[place] for row in used) for key, place in _places.items()}


class WorkerCollector(Collector):
    """What the worker's port shows."""

    def collect(self) -> Iterator[Metric]:
        node = identity.node()
        for name, text, value in (
            ("processes", "Processes of the worker.", shared_state.pool_size()),
            (
                "busy_processes",
                "Those that run the worker loop.",
                shared_state.pool_size() - shared_state.idle_processes(),
            ),
            ("draining", "1: it takes nothing more.", shared_state.is_draining()),
        ):
            family = GaugeMetricFamily(f"pixsim_worker_{name}", text, labels=["worker"])
            family.add_metric([node], value)
            yield family
        yield from self._counters(node, totals())

    def _counters(self, node: str, found: dict[Key, float]) -> Iterator[Metric]:
        sent = CounterMetricFamily(
            "pixsim_worker_notifications",
            "Messages that make an idle process look for work.",
            labels=["worker", "result"],
        )
        attempts = CounterMetricFamily(
            "pixsim_worker_attempts",
            "Attempts that ended in this worker since it started.",
            labels=["worker", "kind", "outcome"],
        )
        for (name, *labels), value in found.items():
            if name in ("notifications", "attempts"):
                family = sent if name == "notifications" else attempts
                family.add_metric([node, *labels], value)
        yield from (sent, attempts)
        times = HistogramMetricFamily(
            "pixsim_worker_attempt_seconds",
            "How long the completed and the failed of them took.",
            labels=["worker", "kind"],
        )
        for kind in all_kinds():
            counts = [found["seconds", kind.name, str(n)] for n in range(len(TIME_BOUNDS) + 1)]
            times.add_metric(
                [node, kind.name], buckets(counts), sum_value=found["seconds_sum", kind.name]
            )
        yield times


def buckets(counts: Sequence[float]) -> list[tuple[str, float]]:
    """Return counts by time, up to each of TIME_BOUNDS and longer, as a histogram's buckets."""
    total = 0.0
    found = []
    for bound, count in zip((*TIME_BOUNDS, float("inf")), counts, strict=True):
        total += count
        found.append(("+Inf" if bound == float("inf") else f"{bound:g}", total))
    return found


REQUEST_SECONDS = 10.0


class MetricsServer:
    """Answers GET /metrics in a thread of the parent: to all who have METRICS_TOKEN, or, without one,
    on this machine only.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        registry = CollectorRegistry()
        registry.register(WorkerCollector())

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_SECONDS  # who sends nothing holds a thread for so long

            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(404)
                elif settings.METRICS_TOKEN and not has_token(
                    self.headers.get("Authorization", ""), settings.METRICS_TOKEN
                ):
                    self.send_error(401)
                else:
                    body = generate_latest(registry)
                    self.send_response(200)
                    self.send_header("Content-Type", CONTENT_TYPE_LATEST)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """A scrape every few seconds is no event."""

        self._handler = Handler

    def start(self) -> None:
        """Listen. A port that is taken is no reason not to work."""
        host = "" if settings.METRICS_TOKEN else "127.0.0.1"
        try:
            self._server = ThreadingHTTPServer((host, self._port), self._handler)
        except OSError as error:
            logger.error("No metrics on port %s, the worker goes on: %s", self._port, error)
            return
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        logger.info("Metrics on port %s of %s", self._port, host or "all addresses")

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _row(number: int) -> "ctypes.Array[ctypes.c_double]":
    assert _memory is not None  # noqa: S101  `begin` was called
    kind = ctypes.c_double * len(_places)
    return kind.from_buffer(_memory, number * _row_size())


def _row_size() -> int:
    return len(_places) * ctypes.sizeof(ctypes.c_double)


def _renew_guard() -> None:
    """A thread of the parent may have held it at the fork."""
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)
