"""CPU per item of the queue in steady state: this checkout beside another, in turns.

    python -m benchmarks.commits OTHER_CHECKOUT [--pairs 7] [--items 150000]

Both run the benchmark's no-op chunks through real Celery workers, each on a PostgreSQL of its own.
CPU is user and system time of the worker's processes and of PostgreSQL, between a tenth and nine
tenths of the items, so that starting and stopping do not count.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median

from benchmarks.bench import PROJECT, output_of, usage_of
from benchmarks.queue import Queue
from benchmarks.report import table, write_section

WINDOWS = {"without a window": 0, "window of 50": 50}


def cpu_per_item(items: int, window: int) -> float:
    """Return microseconds per item of this checkout."""
    with Queue(argparse.Namespace(items=items)) as bench:
        bench.refill(items, owned=window > 0)

        def done() -> int:
            return int(bench.sql("SELECT completed_chunks FROM crawl_jobs")[0][0])

        tiers = json.dumps({"FREE": {"window": window}} if window else {})
        with bench.no_op_worker(TIERS=tiers) as worker:
            bench.wait_for(lambda: done() >= items / 10)
            with usage_of(worker.pid, bench.postgres.pid or 0) as used:
                first = done()
                bench.wait_for(lambda: done() >= items * 0.9)
                last = done()
            return used.cpu_seconds / (last - first) * 1e6


def measured_in(checkout: Path, items: int, window: int) -> float:
    command = [sys.executable, "-m", "benchmarks.commits", "--one", items, window]
    return float(output_of(*command, cwd=checkout).split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="another checkout, such as an older commit")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--items", type=int, default=150_000)
    options = parser.parse_args()
    rows = []
    for title, window in WINDOWS.items():
        found: dict[Path, list[float]] = {PROJECT: [], options.other: []}
        for pair in range(options.pairs):
            for checkout in found if pair % 2 else reversed(found):
                found[checkout].append(measured_in(checkout, options.items, window))
            print(f"  {title}: {[f'{values[-1]:.1f} µs' for values in found.values()]}", flush=True)
        ours, theirs = found.values()
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        times = [f"{median(values):.1f} µs" for values in (ours, theirs)]
        rows.append([title, *times, f"{median(ratios):.3f}", spread])
    name = output_of("git", "-C", options.other, "log", "-1", "--format=%h of %cs").strip()
    about = f"Beside commit {name}, {options.pairs} pairs in turns, {options.items:,} items each."
    header = ["", "CPU per item", "before", "ratio, median of pairs", "spread"]
    title = "Queue: CPU per item beside an older commit"
    write_section("commits", title, f"{about}\n\n{table(header, rows)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(cpu_per_item(int(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
