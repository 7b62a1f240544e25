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
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.bench import PROCESSES, PROJECT, Bench, output_of
from benchmarks.report import percentile, table, write_section

ACCOUNTS, SLOTS = 8, 5
PEER = "benchmarks.peers.celery_semaphore"

MAKE_ACCOUNTS = f"""
from providers import slots
from providers.adapters import adapter_named
from providers.models import ProviderAccount
slots.ensure_keyless_account(adapter_named("local"), slots=8)
for n in range({ACCOUNTS}):
    ProviderAccount.objects.create(provider_id="simple", email=f"a{{n}}@example.org",
        api_key=f"test-key-{{n}}", max_concurrent_jobs={SLOTS})
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


@contextmanager
def fake_provider(seconds: float) -> Iterator[str]:
    """A fake provider in a process of its own; its URL."""
    command = [sys.executable, "-m", "tests.providers.adapters.simple_fake", "0", "--at-once"]
    process = subprocess.Popen(
        [*command, "--duration", str(seconds)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=10)


def calls_of(provider: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The calls that the provider at this URL has ended, and how many each account had at once."""
    with urllib.request.urlopen(f"{provider}/_fake") as answer:
        log = json.load(answer)
    return [one for one in log["generations"] if one["ended_at"] is not None], log["most_live"]


def row(name: str, provider: str) -> list[object]:
    """What the provider saw, as a row."""
    calls, most_live = calls_of(provider)
    begin = min(one["accepted_at"] for one in calls)
    seconds = max(one["ended_at"] for one in calls) - begin
    used = sum(one["ended_at"] - one["accepted_at"] for one in calls)
    rate, found = len(calls) / seconds, gaps(calls)
    cells = [
        name,
        f"{rate:.0f}" if rate >= 20 else f"{rate:.1f}",
        f"{used / (ACCOUNTS * SLOTS * seconds):.0%}",
        f"{1000 * percentile(found, 0.5):.0f} ms",
        f"{1000 * percentile(found, 0.99):.0f} ms",
        max(most_live.values()),
        len(calls) - len({one["reference"] for one in calls}),
    ]
    print(cells, flush=True)
    return cells


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


class Generation(Bench):
    def pixsim(self, *, jobs: int, seconds: float) -> list[object]:
        """Through the fake provider, by real Celery workers."""
        with fake_provider(seconds) as url:
            urls = json.dumps({"simple": url})
            self._run("simple", jobs, PROVIDER_BASE_URLS=urls, SIMPLE_SUBMIT_SECONDS="30")
            return row(f"PixSim, {seconds:g} s", url)

    def local(self, *, jobs: int) -> float:
        """Through `local`, which renders small pictures here; jobs per second."""
        began = time.monotonic()
        self._run("local", jobs, params='{"width": 64, "height": 64}', LOCAL_SLOTS="8")
        return jobs / (time.monotonic() - began)

    def statements(self, *, jobs: int) -> float:
        """Statements of the server per job, from its log."""
        self.sql("ALTER SYSTEM SET log_statement = 'all'")
        self.sql("SELECT pg_reload_conf()")
        size = self.postgres.log.stat().st_size
        self.pixsim(jobs=jobs, seconds=0.3)
        self.sql("ALTER SYSTEM RESET log_statement")
        self.sql("SELECT pg_reload_conf()")
        with self.postgres.log.open(errors="replace") as log:
            log.seek(size)
            return sum("statement: " in line or "execute " in line for line in log) / jobs

    def celery(self, *, jobs: int, seconds: float) -> list[object]:
        """The peer."""
        with fake_provider(seconds) as url:
            limits = {"ACCOUNTS": str(ACCOUNTS), "SLOTS": str(SLOTS)}
            env = {**self.env, **limits, "PROVIDER_URL": url, "BROKER": self.broker_url}
            output_of(sys.executable, "-m", PEER, jobs, env=env)
            command = [sys.executable, "-m", "celery", "-A", PEER, "worker", "-P", "threads"]
            command += ["-c", "24", "--prefetch-multiplier", "1", "-l", "ERROR", "-n"]
            workers = [
                subprocess.Popen([*command, f"peer{number}@bench"], cwd=PROJECT, env=env)
                for number in range(PROCESSES)
            ]
            try:
                self.wait_for(lambda: len(calls_of(url)[0]) >= jobs, poll_seconds=0.5)
                return row(f"Celery, {seconds:g} s", url)
            finally:
                for worker in workers:
                    worker.terminate()
                for worker in workers:
                    worker.wait(timeout=30)

    def _run(self, provider: str, jobs: int, *, params: str = "{}", **environment: str) -> None:
        self.sql(
            "TRUNCATE jobs, provider_submissions, provider_accounts, assets, auth_user CASCADE"
        )
        user = int(self.python(MAKE_ACCOUNTS).communicate(timeout=60)[0].split()[-1])
        self.sql(FILL, user, provider, params, jobs)
        self.sql("VACUUM ANALYZE jobs")
        is_open = "SELECT 1 FROM jobs WHERE status IN ('pending', 'processing') LIMIT 1"
        with self.worker(**environment):
            self.wait_for(lambda: not self.sql(is_open), poll_seconds=0.2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--slow-jobs", type=int, default=800)
    parser.add_argument("--local", type=int, default=10_000)
    options = parser.parse_args()
    with Generation("benchmarks.generation_settings") as bench:
        rows = []
        for seconds, jobs in ((0.3, options.jobs), (5.0, options.slow_jobs)):
            if jobs:
                rows.append(bench.pixsim(jobs=jobs, seconds=seconds))
                rows.append(bench.celery(jobs=jobs, seconds=seconds))
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
    write_section("generation", "Generation", body)


if __name__ == "__main__":
    main()
