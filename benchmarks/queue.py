"""The queue with work that does nothing, beside Celery, Procrastinate and the database's limit.

    python -m benchmarks.queue [--rounds 3] [--items 30000] [--large 2000000] [--snapshot 600]
        [--only speed|urgency|size|snapshot]

Everything runs in one go on one embedded PostgreSQL and Redis, the systems in turns.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import psycopg
import redis

from benchmarks.bench import BENCH_PYTHON, PEERS, PROCESSES, Bench, output_of
from benchmarks.report import percentile, table, write_section
from tests.world import PROJECT

ADD_JOB = """
INSERT INTO crawl_jobs (project_id, name, keywords, max_images, status, progress, total_images,
    downloaded_images, valid_images, total_chunks, active_chunks, completed_chunks, failed_chunks,
    task_ids)
SELECT id, 'bench', '[]', 1000000, 'running', 0, 0, 0, 0, 0, 0, 0, 0, '[]' FROM projects LIMIT 1
RETURNING id
"""
ADD_OWNER = """
WITH one AS (
    INSERT INTO auth_user (username, email, password, first_name, last_name, is_active, is_staff,
        is_superuser, date_joined)
    VALUES ('bench', 'bench@example.org', '', '', '', true, false, false, now()) RETURNING id
)
INSERT INTO profiles (id, email, role, user_id)
SELECT gen_random_uuid(), 'bench@example.org', 'user', id FROM one RETURNING id
"""
FILL = """
WITH filled AS (
    UPDATE crawl_jobs SET total_chunks = total_chunks + %(count)s,
        active_chunks = active_chunks + %(count)s
    RETURNING id, total_chunks
)
INSERT INTO job_chunks (job_id, chunk_index, image_range, priority, owner_id, ready_at)
SELECT id, total_chunks - i, '{"start": 0, "end": 1}', %(priority)s, %(owner)s::uuid,
    CASE WHEN %(owner)s::uuid IS NULL THEN now() END
FROM filled, generate_series(1, %(count)s) i
"""
WAITS_OF_URGENT = """
SELECT extract(epoch FROM started_at - created_at)::float8 * 1000, (
    SELECT count(*) FROM job_chunks other
    WHERE other.priority < 10 AND other.started_at > urgent.created_at
      AND other.started_at < urgent.started_at)
FROM job_chunks urgent WHERE priority = 10
"""

# Enqueue `count` chunks as PixSim does; print the seconds.
ENQUEUE = """
import time
from crawler.models import CrawlJob, CrawlSource
from crawler.services import chunks, planning
from jobs.queue.worker import notify
job = CrawlJob.objects.get()
notify.notify()
begun = time.perf_counter()
{}
print(time.perf_counter() - begun)
"""
SINGLE = """
for number in range(count):
    chunks.add_chunk(job_id=job.pk, start=number, end=number + 1)
"""
BATCH = """
CrawlJob.objects.filter(pk=job.pk).update(max_images=count, chunk_size=1, status="pending")
CrawlSource.objects.create(job=job, kind="urls", location="none")
planning.plan_job(job_id=job.pk)
"""


class Queue(Bench):
    """Its job is the one crawl job there is."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.options = options
        self.messages = redis.Redis(unix_socket_path=self.broker_url.partition("://")[2])

    def refill(self, count: int, *, owned: bool = False) -> None:
        """Replace all there is by a job of `count` chunks, of the system or of an owner."""
        self.messages.flushall()
        self.sql(
            "TRUNCATE work_attempts, job_chunks, crawl_jobs, projects, auth_user, profiles CASCADE"
        )
        self.sql("INSERT INTO projects (name, status) VALUES ('bench', 'active')")
        self.sql(ADD_JOB)
        self.fill(count, owner=self.sql(ADD_OWNER)[0][0] if owned else None)
        self.sql("VACUUM ANALYZE job_chunks")

    def fill(self, count: int, *, owner: Any = None, priority: int = 5) -> None:
        self.sql(FILL, count=count, owner=owner, priority=priority)

    def number(self, condition: str) -> int:
        """Return how many chunks there are with this condition."""
        return int(self.sql(f"SELECT count(*) FROM job_chunks WHERE {condition}")[0][0])

    def any(self, condition: str) -> bool:
        return bool(self.sql(f"SELECT 1 FROM job_chunks WHERE {condition} LIMIT 1"))

    # Items per second

    def pixsim(self, *, window: int | None) -> float:
        """Real Celery workers, by the rows' own times."""
        count = self.options.items if window not in (1, 2) else self.options.items // 4
        self.refill(count, owned=window is not None)
        tiers = json.dumps({"FREE": {"window": window}} if window else {})
        with self.no_op_worker(TIERS=tiers):
            self.wait_for(lambda: not self.any("status <> 'completed'"))
        times = "extract(epoch FROM max(finished_at) - min(started_at))::float8"
        return count / self.sql(f"SELECT {times} FROM job_chunks")[0][0]

    def no_op_worker(self, **environment: str) -> Any:
        return self.worker(DJANGO_SETTINGS_MODULE="benchmarks.settings", **environment)

    def enqueue(self, code: str, count: int) -> float:
        self.refill(0)
        process = self.python(f"count = {count}" + ENQUEUE.format(code))
        return count / float(process.communicate(timeout=600)[0])

    def raw(self, batch: int) -> float:
        self.refill(self.options.items)
        file = self.home / "statements.json"
        file.write_text(json.dumps(queue_statements()))
        command = [sys.executable, PEERS / "raw_sql.py", self.database_url, file, str(batch)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(PROCESSES)]
        results = [process.communicate(timeout=600)[0].split() for process in processes]
        return sum(int(items) for items, _ in results) / max(float(s) for _, s in results)

    def celery_enqueue(self, count: int) -> float:
        self.messages.flushall()
        peer = ["-m", "benchmarks.peers.celery_noop", self.broker_url, "enqueue"]
        return count / float(output_of(BENCH_PYTHON, *peer, count))

    def celery(self) -> float:
        count, queue = self.options.items // 3, "celery"
        self.celery_enqueue(count)
        process = subprocess.Popen(
            [BENCH_PYTHON, "-m", "celery", "-A", "benchmarks.peers.celery_noop", "worker",
             f"-c{PROCESSES}", "--loglevel=ERROR"],
            env={**os.environ, "BROKER": self.broker_url}, cwd=PROJECT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.wait_for(lambda: self.messages.llen(queue) < count)
        begun, left = time.perf_counter(), self.messages.llen(queue)
        self.wait_for(lambda: self.messages.llen(queue) + self.messages.hlen("unacked") == 0)
        seconds = time.perf_counter() - begun
        process.terminate()
        process.wait(timeout=30)
        return left / seconds

    def procrastinate(self, verb: str, count: int) -> float:
        """`defer` and `batch` per second, or `work`: items per second of two processes."""
        command = [BENCH_PYTHON, PEERS / "procrastinate_noop.py", self.database_url]
        if verb != "work":
            return count / float(output_of(*command, verb, count))
        self.sql("TRUNCATE procrastinate_jobs CASCADE")
        self.procrastinate("batch", count)
        begun = time.perf_counter()
        workers = [
            subprocess.Popen([*command, "work", "10"], stderr=subprocess.DEVNULL)
            for _ in range(PROCESSES)
        ]
        for worker in workers:
            worker.wait(timeout=600)
        return count / (time.perf_counter() - begun)

    # Urgency and size

    def arrivals(self, waiting: int, count: int) -> tuple[list[float], int]:
        """Milliseconds until a priority-10 arrival is claimed behind `waiting` items, and how many
        were not among the next claims."""
        self.refill(waiting)
        with self.no_op_worker(NOOP_SECONDS="0.004"):
            self.wait_for(lambda: self.number("status = 'completed'") > 20)
            for _ in range(count):
                self.fill(1, priority=10)
                time.sleep(0.05)
            self.wait_for(lambda: not self.any("priority = 10 AND status <> 'completed'"))
        waits, overtaken = zip(*self.sql(WAITS_OF_URGENT), strict=True)
        return list(waits), sum(each > PROCESSES * 2 * 8 for each in overtaken)

    def claim_time(self, *, waiting: int, finished: int = 0) -> float:
        """Milliseconds of one claim of 10 items and its completion, median of 300."""
        self.refill(finished)
        self.sql("UPDATE job_chunks SET status = 'completed', ready_at = NULL, finished_at = now()")
        self.sql("VACUUM (FULL, ANALYZE) job_chunks")
        self.fill(waiting)
        self.sql("VACUUM ANALYZE job_chunks")
        return self._claim(300)

    def _claim(self, times: int) -> float:
        claim, complete, _count_ended, params = queue_statements()
        found = []
        for _ in range(times):
            begun = time.perf_counter()
            rows = self.sql(claim, **params, limit=10)
            self.sql(complete, **params, ids=[row[0] for row in rows], leases=[rows[0][1]])
            found.append((time.perf_counter() - begun) * 1000)
        return median(found)

    def under_a_snapshot(self, seconds: float) -> tuple[float, float, float, int]:
        """A claim's time before, at the end of, and after a snapshot held open for `seconds` while
        a worker works at full speed; and the items it did."""
        self.refill(self.options.large)
        before = self._claim(100)
        with psycopg.connect(self.database_url) as holder:
            holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT count(*) FROM crawl_jobs")
            with self.no_op_worker():
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    time.sleep(1)
                    if not self.any("status = 'pending'"):
                        self.fill(200_000)
            during = self._claim(100)
        self.sql("VACUUM job_chunks")
        return before, during, self._claim(100), self.number("status = 'completed'")


def queue_statements() -> tuple[str, str, str, dict[str, Any]]:
    """Claim, complete and count as the queue sends them, and the parameters that stay the same."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    for name in ("SECRET_KEY", "CREDENTIALS_KEYS", "ALLOWED_HOSTS"):
        os.environ.setdefault(name, "benchmark")
    os.environ.setdefault("DATABASE_URL", "postgres://localhost/none")
    import django

    django.setup()
    from crawler import counters
    from jobs.queue import api, kinds, sql

    kind = kinds.kind_named("chunk")
    params = {
        "task_id": "bench", "worker": "bench", "lease_seconds": 30, "skipped": [],
        "outcome": None, "error_class": None, "details": None, **api.window_params(),
    }  # fmt: skip
    return kind.sql(sql.CLAIM), kind.sql(sql.COMPLETE), counters.ADD_CHUNKS, params


def measure_speed(bench: Queue) -> str:
    items = bench.options.items
    enqueue: dict[str, Callable[[], float]] = {
        "Celery apply_async": lambda: bench.celery_enqueue(3000),
        "Procrastinate defer": lambda: bench.procrastinate("defer", 1000),
        "PixSim add_chunk, with its notification": lambda: bench.enqueue(SINGLE, 3000),
        "Procrastinate batch_defer": lambda: bench.procrastinate("batch", items),
        "PixSim, a planned job of 100,000 chunks": lambda: bench.enqueue(BATCH, 100_000),
    }
    process: dict[str, Callable[[], float]] = {
        f"Celery, {PROCESSES} processes": bench.celery,
        f"Procrastinate, {PROCESSES} processes × 10": lambda: bench.procrastinate("work", 3000),
        "PixSim windowless": lambda: bench.pixsim(window=None),
        **{f"PixSim window {w}": partial(bench.pixsim, window=w) for w in (1, 2, 6, 50)},
        "limit: the same statements from psycopg": lambda: bench.raw(200),
    }
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(bench.options.rounds):
        for name, measure in {**enqueue, **process}.items():
            found[name].append(measure())
            print(f"  {name}: {found[name][-1]:,.0f}/s", flush=True)
    rates = {name: median(values) for name, values in found.items()}

    def compared(names: Sequence[str]) -> str:
        """A row for each name, beside the first."""
        rows = []
        for name in names:
            spread = f"{min(found[name]):,.0f} to {max(found[name]):,.0f}"
            share = f"{rates[name] / rates[names[0]]:.2f}"
            rows.append([name, f"{rates[name]:,.0f}", spread, share])
        return table(["", "items/s (median)", "spread", "× Celery"], rows)

    share = rates["PixSim windowless"] / rates["limit: the same statements from psycopg"]
    return (
        f"### Enqueue\n\n{compared(list(enqueue))}\n\n"
        f"### Process, {PROCESSES} worker processes\n\n{compared(list(process))}\n\n"
        f"PixSim windowless reaches {share:.0%} of the limit."
    )


def measure_urgency(bench: Queue) -> str:
    waits, late = bench.arrivals(100_000, 200)
    spread = [median(waits), percentile(waits, 0.99), max(waits)]
    return "### A priority-10 arrival behind 100,000 waiting items of 4 ms\n\n" + table(
        ["arrivals", "p50", "p99", "max", "overtaken by a later claim"],
        [[len(waits), *(f"{value:.0f} ms" for value in spread), late]],
    )


def measure_size(bench: Queue) -> str:
    large = bench.options.large
    small = bench.claim_time(waiting=10_000)
    rows = [["10,000", "0", f"{small:.2f} ms", "1.00"]]
    for waiting, finished in ((large, 0), (10_000, large)):
        value = bench.claim_time(waiting=waiting, finished=finished)
        rows.append([f"{waiting:,}", f"{finished:,}", f"{value:.2f} ms", f"{value / small:.2f}"])
    return "### One claim of 10 items and their completion\n\n" + table(
        ["waiting", "finished", "median", "× 10,000 waiting"], rows
    )


def measure_snapshot(bench: Queue) -> str:
    before, during, after, done = bench.under_a_snapshot(bench.options.snapshot)
    return (
        f"A snapshot held open for {bench.options.snapshot:.0f} s while {PROCESSES} worker processes "
        f"worked on {bench.options.large:,} waiting items, of which they finished {done:,}: claiming "
        f"10 items and completing them takes {before:.2f} ms before, {during:.2f} ms at its end, "
        f"{after:.2f} ms after it was closed and the table vacuumed. The claim index keeps an entry "
        "for every item claimed since the snapshot began, and each claim walks over them."
    )


PARTS = {
    "speed": measure_speed,
    "urgency": measure_urgency,
    "size": measure_size,
    "snapshot": measure_snapshot,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=30_000)
    parser.add_argument("--large", type=int, default=2_000_000)
    parser.add_argument("--snapshot", type=float, default=600)
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    with Queue(options) as bench:
        output_of(BENCH_PYTHON, PEERS / "procrastinate_noop.py", bench.database_url, "schema")
        for name in [options.only] if options.only else PARTS:
            write_section(f"queue-{name}", f"Queue: {name}", PARTS[name](bench))


if __name__ == "__main__":
    main()
