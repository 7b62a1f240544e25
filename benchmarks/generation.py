"""Generation through a pool of accounts, measured at the provider's side, beside plain Celery.

    python -m benchmarks.generation [--jobs 10000] [--local 2000] [--slow-jobs 400]

A fake provider runs in a process of its own: 8 accounts of 5 slots each, every call takes 300 ms
(then 5 s) and answers with the result. PixSim works with two worker processes. The peer does the
same calls from plain Celery tasks in two processes of 24 threads, with a semaphore in Redis (a list
of 40 tokens, one per slot, taken with BLPOP): it keeps no record of intent, no result, no asset.

Utilisation is the share of the possible slot time between the first and the last call that was used;
the gap is from a freed slot of an account to its next call. Both are the provider's own times.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from contextlib import contextmanager
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from benchmarks.report import percentile, table, write_section
from tests.world import PROJECT, World

ACCOUNTS, SLOTS, PROCESSES = 8, 5, 2

MAKE_ACCOUNTS = """
from providers.models import ProviderAccount
for n in range({accounts}):
    ProviderAccount.objects.create(provider_id="{provider}", email=f"a{{n}}@example.org",
        api_key=f"test-key-{{n}}", max_concurrent_jobs={slots})
from jobs.services import system_user
print(system_user().pk)
"""

FILL = """
INSERT INTO jobs (user_id, operation_type, provider_id, params, params_hash, priority, status,
    retry_count, created_at, ready_at)
SELECT %s, 'text_to_image', %s, %s || jsonb_build_object('prompt', 'picture ' || n), n::text, 5,
    'pending', 0, now(), now()
FROM generate_series(1, %s) AS n
"""


class Provider:
    """The fake in a process of its own."""

    def __init__(self, seconds: float) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "tests.providers.adapters.simple_fake", "0",
                "--duration", str(seconds), "--at-once",
            ],
            cwd=PROJECT, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def __enter__(self) -> "Provider":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)

    def log(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_fake") as answer:
            return dict(json.load(answer))


def measured(log: dict[str, Any]) -> dict[str, Any]:
    """What the provider saw."""
    calls = [one for one in log["generations"] if one["ended_at"] is not None]
    begin = min(one["accepted_at"] for one in calls)
    end = max(one["ended_at"] for one in calls)
    used = sum(one["ended_at"] - one["accepted_at"] for one in calls)
    return {
        "rate": len(calls) / (end - begin),
        "utilisation": used / (ACCOUNTS * SLOTS * (end - begin)),
        "gaps": gaps(calls),
        "most_live": max(log["most_live"].values()),
        "twice": len(calls) - len({one["reference"] for one in calls}),
    }


def gaps(calls: list[dict[str, Any]]) -> list[float]:
    """Seconds from each freed slot to the account's next call, oldest freed slot first.

    Without the last calls of each account, after which there was nothing left to do.
    """
    by_account = defaultdict(list)
    for one in calls:
        by_account[one["account"]] += [(one["ended_at"], 0), (one["accepted_at"], 1)]
    found = []
    for events in by_account.values():
        freed: list[float] = []
        for at, is_call in sorted(events):
            if not is_call:
                freed.append(at)
            elif freed:
                found.append(at - freed.pop(0))
    return found


class Bench:
    def __init__(self, world: World) -> None:
        self.world = world
        self.connection = psycopg.connect(world.database_url, autocommit=True)

    def pixsim(self, *, jobs: int, seconds: float) -> dict[str, Any]:
        """Through the fake provider, by real Celery workers."""
        with Provider(seconds) as provider:
            environment = {
                "PROVIDER_BASE_URLS": json.dumps({"simple": provider.url}),
                "SIMPLE_SUBMIT_SECONDS": "30",
            }
            self._run("simple", jobs, environment, params={})
            return measured(provider.log())

    def local(self, *, jobs: int) -> float:
        """Through `local`, which renders small pictures here; jobs per second."""
        params = {"width": 64, "height": 64}
        began = time.monotonic()
        self._run("local", jobs, {"LOCAL_SLOTS": "8"}, params=params, accounts=1, slots=8)
        return jobs / (time.monotonic() - began)

    def statements(self, *, jobs: int) -> float:
        """Statements of the server per job, from its log."""
        self.connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        self.connection.execute("SELECT pg_reload_conf()")
        size = self.world.postgres.log.stat().st_size
        self.pixsim(jobs=jobs, seconds=0.3)
        self.connection.execute("ALTER SYSTEM RESET log_statement")
        self.connection.execute("SELECT pg_reload_conf()")
        with self.world.postgres.log.open(errors="replace") as log:
            log.seek(size)
            lines = [line for line in log if "statement: " in line or "execute " in line]
        return len(lines) / jobs

    def celery(self, *, jobs: int, seconds: float) -> dict[str, Any]:
        """The peer."""
        with Provider(seconds) as provider:
            env = {
                **self.world.env, "PROVIDER_URL": provider.url, "BROKER": self.world.broker_url,
                "ACCOUNTS": str(ACCOUNTS), "SLOTS": str(SLOTS),
            }  # fmt: skip
            peer = [sys.executable, "-m", "benchmarks.peers.celery_semaphore", str(jobs)]
            subprocess.run(peer, cwd=PROJECT, env=env, check=True)
            workers = [
                subprocess.Popen(
                    [
                        sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_semaphore",
                        "worker", "-P", "threads", "-c", "24", "-n", f"peer{number}@bench",
                        "--prefetch-multiplier", "1", "-l", "ERROR",
                    ],
                    cwd=PROJECT, env=env,
                )
                for number in range(PROCESSES)
            ]  # fmt: skip
            try:
                ends = time.monotonic() + 120 + 3 * jobs * seconds / (ACCOUNTS * SLOTS)
                while provider_done(provider) < jobs:
                    if time.monotonic() > ends:
                        raise TimeoutError("the peer did not finish")
                    time.sleep(0.5)
                return measured(provider.log())
            finally:
                for worker in workers:
                    worker.send_signal(signal.SIGTERM)
                for worker in workers:
                    worker.wait(timeout=30)

    def _run(
        self,
        provider: str,
        jobs: int,
        environment: dict[str, str],
        *,
        params: dict[str, Any],
        accounts: int = ACCOUNTS,
        slots: int = SLOTS,
    ) -> None:
        self.connection.execute(
            "TRUNCATE jobs, provider_submissions, provider_accounts, assets, auth_user CASCADE"
        )
        self.world.environment = {
            "DJANGO_SETTINGS_MODULE": "benchmarks.generation_settings",
            "ALLOWED_HOSTS": "localhost",
            "SECRET_KEY": "benchmark",
            "CREDENTIALS_KEYS": Fernet.generate_key().decode(),
            **environment,
        }
        code = MAKE_ACCOUNTS.format(accounts=accounts, slots=slots, provider=provider)
        setup = self.world.python(code)
        user = int(setup.communicate(timeout=60)[0].split()[-1])
        self.connection.execute(FILL, [user, provider, json.dumps(params), jobs])
        self.connection.execute("VACUUM ANALYZE jobs")
        with self._worker():
            ends = time.monotonic() + 1800
            while self._open():
                if time.monotonic() > ends:
                    raise TimeoutError(self.world.log()[-3000:])
                time.sleep(0.2)

    def _open(self) -> bool:
        row = self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE status IN ('pending', 'processing'))"
        ).fetchone()
        return bool(row and row[0])

    @contextmanager
    def _worker(self) -> Any:
        process = self.world.start_worker(concurrency=PROCESSES)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def provider_done(provider: Provider) -> int:
    return sum(one["ended_at"] is not None for one in provider.log()["generations"])


def row(name: str, one: dict[str, Any]) -> list[object]:
    found = one["gaps"]
    return [
        name,
        f"{one['rate']:.0f}" if one["rate"] >= 20 else f"{one['rate']:.1f}",
        f"{one['utilisation']:.0%}",
        f"{1000 * percentile(found, 0.5):.0f} ms",
        f"{1000 * percentile(found, 0.99):.0f} ms",
        one["most_live"],
        one["twice"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--slow-jobs", type=int, default=800)
    parser.add_argument("--local", type=int, default=10_000)
    parser.add_argument("--dry", action="store_true", help="print, do not write RESULTS.md")
    options = parser.parse_args()
    with World() as world:
        bench = Bench(world)
        rows = []
        for seconds, jobs in ((0.3, options.jobs), (5.0, options.slow_jobs)):
            if not jobs:
                continue
            rows.append(row(f"PixSim, {seconds:g} s", bench.pixsim(jobs=jobs, seconds=seconds)))
            print(rows[-1], flush=True)
            rows.append(row(f"Celery, {seconds:g} s", bench.celery(jobs=jobs, seconds=seconds)))
            print(rows[-1], flush=True)
        statements = bench.statements(jobs=min(options.jobs, 500))
        rate = bench.local(jobs=options.local) if options.local else 0.0
    header = ["", "jobs/s", "slot use", "gap p50", "gap p99", "most at once", "sent twice"]
    body = (
        f"{options.jobs:,} jobs at 0.3 s and {options.slow_jobs:,} at 5 s, {ACCOUNTS} accounts of "
        f"{SLOTS} slots, {PROCESSES} worker processes. PixSim records intent and outcome, fetches "
        "each picture, checks it, makes a thumbnail and an asset; the Celery tasks only call.\n\n"
        + table(header, rows)
        + f"\n\nDatabase statements per job: {statements:.1f}. `local`, pictures of 64x64, "
        f"{options.local:,} jobs: {rate:.0f} jobs/s, rendering included."
    )
    if options.dry:
        print(body)
    else:
        write_section("generation", "Generation", body)


if __name__ == "__main__":
    main()
