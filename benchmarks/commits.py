"""CPU per item of the queue in steady state: this checkout beside another, in turns.

    python -m benchmarks.commits OTHER_CHECKOUT [--pairs 7] [--items 150000]

Both run the benchmark's no-op chunks through real Celery workers, each on a PostgreSQL of its own.
CPU is user and system time of the worker's processes and of PostgreSQL, between a tenth and nine
tenths of the items, so that starting and stopping do not count.
"""

import argparse
import itertools
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
WINDOWS = {"without a window": 0, "window of 50": 50}


def cpu_per_item(items: int, window: int) -> float:
    """Return microseconds per item of the checkout whose code is imported."""
    import json

    import psutil

    from benchmarks.queue import Bench
    from tests.world import World

    with World() as world:
        bench = Bench(world, argparse.Namespace(items=items))
        bench.empty()
        bench.fill(items, job=bench.job(), owner=bench.owner("bench") if window else None)
        bench.sql("VACUUM ANALYZE job_chunks")
        postgres = psutil.Process(bench.sql("SELECT pg_backend_pid()")[0][0]).parent()
        assert postgres is not None

        def done() -> int:
            counted = "SELECT completed_chunks FROM crawl_jobs"
            return int(bench.sql(counted)[0][0])

        with bench.worker(TIERS=json.dumps({"FREE": {"window": window}} if window else {})) as one:

            def seconds() -> float:
                family = [*world.family(one), postgres, *postgres.children()]
                times = [process.cpu_times() for process in family]
                ended = postgres.cpu_times()
                used = sum(each.user + each.system for each in times)
                return used + ended.children_user + ended.children_system

            bench.wait_for(lambda: done() >= items / 10)
            before, first = seconds(), done()
            bench.wait_for(lambda: done() >= items * 0.9)
            return (seconds() - before) / (done() - first) * 1e6


def measure(checkout: Path, items: int, window: int) -> float:
    command = [sys.executable, "-P", __file__, "--one", str(items), str(window)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return the bounds of a 95 % bootstrap interval of the median."""
    import random

    from benchmarks.report import median

    chosen = random.Random(1)
    medians = sorted(median(chosen.choices(ratios, k=len(ratios))) for _ in range(10_000))
    return medians[250], medians[9_749]


def main() -> None:
    from benchmarks.report import median, table, write_section

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "other", type=Path, help="another checkout of PixSim, such as an older commit"
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--items", type=int, default=150_000)
    options = parser.parse_args()
    rows = []
    for title, window in WINDOWS.items():
        pairs = []
        for pair in range(options.pairs):
            order = [HERE, options.other] if pair % 2 else [options.other, HERE]
            found = {one: measure(one, options.items, window) for one in order}
            pairs.append((found[HERE], found[options.other]))
            print(f"  {title}: {pairs[-1][0]:.1f} and {pairs[-1][1]:.1f} µs", flush=True)
        new, old = (median(list(values)) for values in zip(*pairs, strict=True))
        ratios = list(itertools.starmap(lambda mine, other: mine / other, pairs))
        low, high = interval(ratios)
        rows.append(
            [
                title,
                f"{new:.1f} µs",
                f"{old:.1f} µs",
                f"{median(ratios):.3f}",
                f"{low:.3f} to {high:.3f}",
            ]
        )
    commit = ["git", "-C", str(options.other), "log", "-1", "--format=%h of %cs"]
    name = subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip()
    body = (
        f"Beside commit {name}, {options.pairs} pairs in turns, {options.items:,} items each.\n\n"
    )
    header = ["", "CPU per item", "before", "ratio, median of pairs", "95 % of it"]
    write_section(
        "commits", "Queue: CPU per item beside an older commit", body + table(header, rows)
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(cpu_per_item(int(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
