"""The queue with work that does nothing, beside Celery, Procrastinate and the database's limit.

    python -m benchmarks.queue [--rounds 3] [--items 30000] [--large 2000000] [--snapshot 600]
        [--only speed|urgency|size|snapshot]

Everything runs in one go on one embedded PostgreSQL and Redis, the systems in turns.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.report import median, percentile, table, write_section
from tests.world import PROJECT, World

PEERS = Path(__file__).with_name("peers")
BENCH_PYTHON = PROJECT / ".venv-bench" / "bin" / "python"
PROCESSES = 2

FILL = """
INSERT INTO job_chunks (job_id, chunk_index, image_range, priority, owner_id, ready_at)
SELECT %(job)s, %(first)s + i, '{"start": 0, "end": 1}', %(priority)s, %(owner)s::uuid,
    CASE WHEN %(owner)s::uuid IS NULL THEN now() END
FROM generate_series(1, %(count)s) i
"""


class Bench:
    def __init__(self, world: World, options: argparse.Namespace) -> None:
        self.world, self.options = world, options
        self.dsn = world.database_url
        self.connection = psycopg.connect(self.dsn, autocommit=True)
        self.next_index = 0

    def sql(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query, params)
        return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        self.sql("TRUNCATE job_chunks, crawl_jobs, projects, auth_user, profiles CASCADE")
        self.sql("INSERT INTO projects (name, status) VALUES ('bench', 'active')")
        self.next_index = 0

    def job(self) -> int:
        return int(
            self.sql(
                """INSERT INTO crawl_jobs (project_id, name, keywords, max_images, status, progress,
                       total_images, downloaded_images, valid_images, total_chunks, active_chunks,
                       completed_chunks, failed_chunks, task_ids)
                   SELECT id, 'bench', '[]', 1000000, 'running', 0, 0, 0, 0, 0, 0, 0, 0, '[]'
                   FROM projects LIMIT 1 RETURNING id"""
            )[0][0]
        )

    def fill(self, count: int, *, job: int, owner: Any = None, priority: int = 5) -> None:
        first, self.next_index = self.next_index, self.next_index + count
        params = {"job": job, "first": first, "count": count, "owner": owner, "priority": priority}
        self.sql(FILL, params)
        self.sql(
            "UPDATE crawl_jobs SET total_chunks = total_chunks + %s,"
            " active_chunks = active_chunks + %s WHERE id = %s",
            [count, count, job],
        )

    def owner(self, name: str) -> Any:
        [(user,)] = self.sql(
            """INSERT INTO auth_user (username, email, password, first_name, last_name, is_active,
                   is_staff, is_superuser, date_joined)
               VALUES (%s, %s, '', '', '', true, false, false, now()) RETURNING id""",
            [name, f"{name}@example.org"],
        )
        return self.sql(
            """INSERT INTO profiles (id, email, role, user_id)
               VALUES (gen_random_uuid(), %s, 'user', %s) RETURNING id""",
            [f"{name}@example.org", user],
        )[0][0]

    @contextmanager
    def worker(self, **environment: str) -> Any:
        self.world.environment = {
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "ALLOWED_HOSTS": "localhost",
            "SECRET_KEY": "benchmark",
            "CREDENTIALS_KEYS": "benchmark",
            **environment,
        }
        process = self.world.start_worker(concurrency=PROCESSES)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)

    def wait_for(self, condition: Callable[[], bool], *, seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(self.world.log()[-3000:])
            time.sleep(0.02)

    # Processing

    def pixsim(self, *, window: int | None) -> float:
        """Items per second of real Celery workers, by the rows' own times."""
        self.empty()
        count = self.options.items if window != 1 else self.options.items // 4
        owner = self.owner("bench") if window else None
        self.fill(count, job=self.job(), owner=owner)
        self.sql("VACUUM ANALYZE job_chunks")
        tiers = json.dumps({"FREE": {"window": window}}) if window else "{}"
        with self.worker(TIERS=tiers):
            self.wait_for(self._all_finished)
        [(seconds,)] = self.sql(
            "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM job_chunks"
        )
        return count / seconds

    def _all_finished(self) -> bool:
        return not self.sql("SELECT EXISTS (SELECT 1 FROM job_chunks WHERE status <> 'completed')")[
            0
        ][0]

    def raw(self, batch: int) -> float:
        self.empty()
        self.fill(self.options.items, job=self.job())
        self.sql("VACUUM ANALYZE job_chunks")
        file = self.world.home / "statements.json"
        file.write_text(json.dumps(queue_statements()))
        processes = [
            subprocess.Popen(
                [sys.executable, PEERS / "raw_sql.py", self.dsn, file, str(batch)],
                stdout=subprocess.PIPE,
            )
            for _ in range(PROCESSES)
        ]
        results = [process.communicate(timeout=600)[0].split() for process in processes]
        return sum(int(items) for items, _ in results) / max(float(s) for _, s in results)

    def celery(self) -> float:
        count = self.options.items // 3
        self._celery_enqueue(count)
        done = "celery"
        env = {**os.environ, "BROKER": self.world.broker_url}
        process = subprocess.Popen(
            [BENCH_PYTHON, "-m", "celery", "-A", "benchmarks.peers.celery_noop", "worker",
             f"-c{PROCESSES}", "--loglevel=ERROR"],
            env=env, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        import redis

        broker = redis.Redis(unix_socket_path=self.world.broker_url.partition("://")[2])
        self.wait_for(lambda: broker.llen(done) < count)
        begun, first = time.perf_counter(), count - broker.llen(done)
        self.wait_for(lambda: broker.llen(done) + broker.hlen("unacked") == 0)
        seconds = time.perf_counter() - begun
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        return (count - first) / seconds

    def _celery_enqueue(self, count: int) -> float:
        done = subprocess.run(
            [BENCH_PYTHON, "-m", "benchmarks.peers.celery_noop", self.world.broker_url, "enqueue",
             str(count)],
            capture_output=True, text=True, check=True, cwd=PROJECT,
        )  # fmt: skip
        return count / float(done.stdout)

    def procrastinate(self, verb: str, count: int) -> float:
        """`defer` and `batch` per second, or `work`: items per second of two processes."""
        command = [str(BENCH_PYTHON), str(PEERS / "procrastinate_noop.py"), self.dsn]
        if verb != "work":
            done = subprocess.run(
                [*command, verb, str(count)], capture_output=True, text=True, check=True
            )
            return count / float(done.stdout)
        self.sql("TRUNCATE procrastinate_jobs CASCADE")
        self.procrastinate("batch", count)
        begun = time.perf_counter()
        processes = [
            subprocess.Popen([*command, "work", "10"], stderr=subprocess.DEVNULL)
            for _ in range(PROCESSES)
        ]
        for process in processes:
            process.wait(timeout=600)
        return count / (time.perf_counter() - begun)

    # Enqueueing

    def pixsim_enqueue(self, verb: str, count: int) -> float:
        self.empty()
        self.job()
        done = self.world_python("benchmarks.enqueue", verb, str(count))
        return count / float(done)

    def world_python(self, module: str, *words: str) -> str:
        environment = {"DJANGO_SETTINGS_MODULE": "pixsim.settings"}
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env={**self.world.env, **environment},
            cwd=PROJECT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    # Urgency and size

    def arrivals(self, waiting: int, count: int) -> tuple[list[float], int]:
        """Milliseconds until a priority-10 arrival is claimed behind `waiting` items, and how many
        were not among the next claims."""
        self.empty()
        job = self.job()
        self.fill(waiting, job=job)
        self.sql("VACUUM ANALYZE job_chunks")
        waits: list[float] = []
        late = 0
        with self.worker(NOOP_SECONDS="0.004"):
            self.wait_for(
                lambda: (
                    self.sql("SELECT count(*) FROM job_chunks WHERE status = 'completed'")[0][0]
                    > 20
                )
            )
            for _ in range(count):
                self.fill(1, job=job, priority=10)
                time.sleep(0.05)
            self.wait_for(
                lambda: (
                    not self.sql(
                        "SELECT 1 FROM job_chunks WHERE priority = 10 AND status <> 'completed'"
                    )
                )
            )
        for created, started, overtaken in self.sql(
            """SELECT created_at, started_at, (
                   SELECT count(*) FROM job_chunks other
                   WHERE other.priority < 10 AND other.started_at > urgent.created_at
                     AND other.started_at < urgent.started_at)
               FROM job_chunks urgent WHERE priority = 10"""
        ):
            waits.append((started - created).total_seconds() * 1000)
            late += overtaken > PROCESSES * 2 * 8
        return waits, late

    def claim_time(self, *, waiting: int, finished: int = 0) -> float:
        """Milliseconds of one claim of 10 items and its completion, median of 300."""
        self.empty()
        job = self.job()
        if finished:
            self.fill(finished, job=job)
            self.sql(
                "UPDATE job_chunks SET status = 'completed', ready_at = NULL, finished_at = now()"
            )
            self.sql("VACUUM (FULL, ANALYZE) job_chunks")
        self.fill(waiting, job=job)
        self.sql("VACUUM ANALYZE job_chunks")
        return median(self._claims(300))

    def _claims(self, count: int) -> list[float]:
        claim, complete, _count_ended, windows = queue_statements()
        times = []
        for _ in range(count):
            begun = time.perf_counter()
            rows = self.sql(
                claim, {"limit": 10, "task_id": "bench", "lease_seconds": 30, "resting": []}
            )
            self.sql(
                complete,
                {"ids": [row[0] for row in rows], "leases": [rows[0][1]], "windows": windows},
            )
            times.append((time.perf_counter() - begun) * 1000)
        return times

    def under_a_snapshot(self, seconds: float) -> tuple[float, float, float, int]:
        """A claim's time before, at the end of, and after a snapshot held open for `seconds` while
        a worker works at full speed; and the items it did."""
        self.empty()
        job = self.job()
        self.fill(self.options.large, job=job)
        self.sql("VACUUM ANALYZE job_chunks")
        before = median(self._claims(100))
        with psycopg.connect(self.dsn) as holder:
            holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT count(*) FROM crawl_jobs")
            with self.worker():
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    time.sleep(1)
                    ready = self.sql(
                        "SELECT EXISTS (SELECT 1 FROM job_chunks WHERE status = 'pending')"
                    )
                    if not ready[0][0]:
                        self.fill(200_000, job=job)
            during = median(self._claims(100))
        self.sql("VACUUM job_chunks")
        after = median(self._claims(100))
        [(done,)] = self.sql("SELECT count(*) FROM job_chunks WHERE status = 'completed'")
        return before, during, after, done


def queue_statements() -> list[str]:
    """Claim, complete, count, and the windows parameter, as the queue sends them."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    for name in ("SECRET_KEY", "CREDENTIALS_KEYS", "ALLOWED_HOSTS"):
        os.environ.setdefault(name, "benchmark")
    os.environ.setdefault("DATABASE_URL", "postgres://localhost/none")
    import django

    django.setup()
    from crawler import counters
    from jobs.queue import api, kinds, sql

    kind = kinds.kind_named("chunk")
    return [
        kind.sql(sql.CLAIM),
        kind.sql(sql.COMPLETE),
        counters.ADD_CHUNKS,
        api.window_params()["windows"],
    ]


def measure_speed(bench: Bench) -> str:
    rounds: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        rounds.setdefault(name, []).append(value)
        print(f"  {name}: {value:,.0f}/s", flush=True)

    items = bench.options.items
    for _ in range(bench.options.rounds):
        add("celery enqueue", bench._celery_enqueue(3000))
        import redis

        redis.Redis(unix_socket_path=bench.world.broker_url.partition("://")[2]).flushall()
        add("procrastinate defer", bench.procrastinate("defer", 1000))
        add("procrastinate batch", bench.procrastinate("batch", items))
        add("pixsim single", bench.pixsim_enqueue("single", 3000))
        add("pixsim batch", bench.pixsim_enqueue("batch", 100_000))
        add("celery process", bench.celery())
        add("procrastinate process", bench.procrastinate("work", 3000))
        add("raw batch 200", bench.raw(200))
        add("pixsim windowless", bench.pixsim(window=None))
        for window in (1, 6, 50):
            add(f"pixsim window {window}", bench.pixsim(window=window))
    value = {name: median(values) for name, values in rounds.items()}

    def row(title: str, name: str, against: str) -> list[str]:
        spread = f"{min(rounds[name]):,.0f} to {max(rounds[name]):,.0f}"
        return [title, f"{value[name]:,.0f}", spread, f"{value[name] / value[against]:.2f}"]

    header = ["", "items/s (median)", "spread", "× Celery"]
    enqueue = table(
        header,
        [
            row("Celery apply_async", "celery enqueue", "celery enqueue"),
            row("Procrastinate defer", "procrastinate defer", "celery enqueue"),
            row("PixSim add_chunk, with its ring", "pixsim single", "celery enqueue"),
            row("Procrastinate batch_defer", "procrastinate batch", "celery enqueue"),
            row("PixSim, a planned job of 100,000 chunks", "pixsim batch", "celery enqueue"),
        ],
    )
    process = table(
        header,
        [
            row("Celery, 2 processes", "celery process", "celery process"),
            row("Procrastinate, 2 processes × 10", "procrastinate process", "celery process"),
            row("PixSim windowless", "pixsim windowless", "celery process"),
            *[
                row(f"PixSim window {w}", f"pixsim window {w}", "celery process")
                for w in (1, 6, 50)
            ],
            row("limit: the same statements from psycopg", "raw batch 200", "celery process"),
        ],
    )
    share = value["pixsim windowless"] / value["raw batch 200"]
    return (
        f"### Enqueue\n\n{enqueue}\n\n### Process, {PROCESSES} worker processes\n\n{process}\n\n"
        f"PixSim windowless reaches {share:.0%} of the limit."
    )


def measure_urgency(bench: Bench) -> str:
    waits, late = bench.arrivals(100_000, 200)
    return "### A priority-10 arrival behind 100,000 waiting items of 4 ms\n\n" + table(
        ["arrivals", "p50", "p99", "max", "overtaken by a later claim"],
        [
            [
                len(waits),
                f"{median(waits):.0f} ms",
                f"{percentile(waits, 0.99):.0f} ms",
                f"{max(waits):.0f} ms",
                late,
            ]
        ],
    )


def measure_size(bench: Bench) -> str:
    large = bench.options.large
    small = bench.claim_time(waiting=10_000)
    rows = [["10,000", "0", f"{small:.2f} ms", "1.00"]]
    for waiting, finished in ((large, 0), (10_000, large)):
        value = bench.claim_time(waiting=waiting, finished=finished)
        rows.append([f"{waiting:,}", f"{finished:,}", f"{value:.2f} ms", f"{value / small:.2f}"])
    return "### One claim of 10 items and their completion\n\n" + table(
        ["waiting", "finished", "median", "× 10,000 waiting"], rows
    )


def measure_snapshot(bench: Bench) -> str:
    before, during, after, done = bench.under_a_snapshot(bench.options.snapshot)
    return (
        f"A snapshot held open for {bench.options.snapshot:.0f} s while {PROCESSES} worker processes "
        f"worked on {bench.options.large:,} waiting items, of which they finished {done:,}: claiming "
        f"10 items and completing them takes {before:.2f} ms before, {during:.2f} ms at its end, "
        f"{after:.2f} ms after it was closed and the table vacuumed. The claim index keeps an entry "
        "for every item claimed since the snapshot began, and each claim walks over them."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=30_000)
    parser.add_argument("--large", type=int, default=2_000_000)
    parser.add_argument("--snapshot", type=float, default=600)
    parser.add_argument("--only", choices=["speed", "urgency", "size", "snapshot"])
    options = parser.parse_args()
    with World() as world:
        bench = Bench(world, options)
        parts = {
            "speed": measure_speed,
            "urgency": measure_urgency,
            "size": measure_size,
            "snapshot": measure_snapshot,
        }
        subprocess.run(
            [BENCH_PYTHON, PEERS / "procrastinate_noop.py", bench.dsn, "schema"], check=True
        )
        for name, measure in parts.items():
            if options.only in (None, name):
                write_section(f"queue-{name}", f"Queue: {name}", measure(bench))


if __name__ == "__main__":
    main()
