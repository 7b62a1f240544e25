"""/metrics for Prometheus: what the database knows, so every web process answers the same.

Counters are the totals of `work_rollups`: they survive restarts and may be a minute old.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from jobs.models import Job, JobStatus
from jobs.pricing import UNRESOLVED
from jobs.queue.kinds import all_kinds
from jobs.queue.ops import status, trends, workers
from jobs.queue.worker.metrics import buckets
from pixsim import status as figures
from pixsim.core.caching import CachedFor
from pixsim.core.net.bearer import has_token

CACHE_SECONDS = 5.0
"""All scrapes of a process within so long get one computation."""
REFUSED = (
    "Metrics are for members of staff, for who has METRICS_TOKEN (Authorization: Bearer …), and, "
    "where none is set, for this machine.\n"
)


def scraped(request: HttpRequest) -> HttpResponse | None:
    """Answer a scraper; None: the request needs a session (see `shown`)."""
    given = request.headers.get("Authorization", "")
    if has_token(given, settings.METRICS_TOKEN):
        return answer()
    if given:
        return _refuse(401)
    return answer() if not settings.METRICS_TOKEN and _is_of_this_machine(request) else None


def shown(request: HttpRequest) -> HttpResponse:
    """Answer a member of staff."""
    user = request.user
    return answer() if user.is_active and user.is_staff else _refuse(403)


def answer() -> HttpResponse:
    try:
        return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
    except DatabaseError:
        return HttpResponse("The database does not answer.\n", "text/plain", status=503)


def _refuse(code: int) -> HttpResponse:
    return HttpResponse(REFUSED, "text/plain", status=code)


def _is_of_this_machine(request: HttpRequest) -> bool:
    """Return whether a program here asked, and no proxy on behalf of somebody else."""
    meta = request.META
    if any(name.startswith("HTTP_X_FORWARDED") for name in meta) or "HTTP_FORWARDED" in meta:
        return False
    host, _port = split_domain_port(meta.get("HTTP_HOST", ""))
    return _is_loopback(meta.get("REMOTE_ADDR") or "") and _is_loopback(host.strip("[]"))


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


class DatabaseCollector(Collector):
    """The figures of the queue and the providers."""

    def describe(self) -> Sequence[Metric]:
        return []  # so that registering asks the database nothing

    def collect(self) -> Iterator[Metric]:
        yield from _queue()
        yield from _attempts()
        yield from _workers()
        yield from _providers()


def _compute() -> bytes:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector())
    return generate_latest(registry)


exposition = CachedFor(CACHE_SECONDS, _compute)


def _queue() -> Iterator[Metric]:
    items = _gauge("items", "Items by state. Above 50,000 an estimate.", "kind", "state")
    ages = _gauge(
        "oldest_item_age_seconds", "Age of the oldest item in this state; 0: none.", "kind", "state"
    )
    stuck = _gauge("stuck_leases", "Items whose lease has ended, not yet taken back.", "kind")
    backlog = _gauge(
        "backlog_seconds", "Time to empty the backlog at the rate of the last 24 hours.", "kind"
    )
    for kind in all_kinds():
        found = status.depth(kind)
        for state, count in found.counts.items():
            items.add_metric([kind.name, state], count.number)
        for state in ("ready", "waiting", "processing"):
            ages.add_metric([kind.name, state], getattr(found.ages, state) or 0)
        stuck.add_metric([kind.name], found.stuck_count)
        if found.backlog.seconds is not None:
            backlog.add_metric([kind.name], found.backlog.seconds)
    yield from (items, ages, stuck, backlog)


def _attempts() -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "pixsim_attempts", "Attempts that ended.", labels=["kind", "outcome"]
    )
    times = HistogramMetricFamily(
        "pixsim_attempt_seconds", "How long the completed and the failed took.", labels=["kind"]
    )
    totals = trends.totals()
    for kind in all_kinds():
        found = totals.get(kind.name) or trends.NOTHING
        for column, outcome in trends.OUTCOMES.items():
            attempts.add_metric([kind.name, outcome], getattr(found, column))
        times.add_metric([kind.name], buckets(found.times), sum_value=found.seconds)
    yield from (attempts, times)


def _workers() -> Iterator[Metric]:
    alive = _gauge("workers", "Workers seen within a lease.", "state")
    processes = _gauge("processes", "Processes of these workers.", "state")
    rows = list(workers.seen_within_a_lease())
    for state, is_draining in (("working", False), ("draining", True)):
        of_state = [row for row in rows if row.is_draining is is_draining]
        alive.add_metric([state], len(of_state))
        processes.add_metric([state], sum(row.processes for row in of_state))
    sweeping = _gauge("sweeper_active", "1: the sweeper of some worker is active.")
    sweeping.add_metric([], figures.worker_runs())
    yield from (alive, processes, sweeping)


def _providers() -> Iterator[Metric]:
    accounts = _gauge("provider_accounts", "Provider accounts.", "provider", "state")
    cooling = _gauge(
        "provider_accounts_cooling", "Accounts with a cooldown that has not ended.", "provider"
    )
    limit = _gauge("provider_slots", "Slots of the accounts that are not disabled.", "provider")
    used = _gauge("provider_slots_used", "Live submissions.", "provider")
    slots = figures.slots_in_use()
    by_provider: dict[str, list[int]] = {name: [0, 0] for name in slots}
    for one in figures.accounts():
        accounts.add_metric([one["provider_id"], one["status"]], one["accounts"])
        sums = by_provider.setdefault(one["provider_id"], [0, 0])
        sums[0] += one["cooling"]
        sums[1] += one["slots"] if one["status"] != "disabled" else 0
    for provider, (resting, total) in by_provider.items():
        cooling.add_metric([provider], resting)
        limit.add_metric([provider], total)
        used.add_metric([provider], slots.get(provider, 0))
    charges = _gauge("unresolved_charges", "Generations that may have been charged.")
    unresolved = Job.objects.filter(status=JobStatus.FAILED, error_class=UNRESOLVED)
    charges.add_metric([], unresolved.count())
    yield from (accounts, cooling, limit, used, charges)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pixsim_{name}", text, labels=labels)
