"""What confinement costs a picture: the decoder of this checkout beside that of another, in turns.

    python -m benchmarks.confined OTHER_CHECKOUT [--pairs 9] [--pictures 3000]

OTHER_CHECKOUT is one from before the decoder was confined (43a8cc4). CPU is user and system time of
the parent and the decoder, between a first round and the end, so that starting does not count.
"""

import argparse
import inspect
import os
import sys
from pathlib import Path
from statistics import median

from benchmarks.bench import PROJECT, output_of, usage_of
from benchmarks.report import table, write_section

BATCH = 32


def cpu_per_picture(count: int) -> float:
    """Return microseconds per picture of the checkout in the current folder."""
    from crawler.fetch.decoder_client import Decoder
    from crawler.fetch.rules import Checks
    from tests.crawler.pictures import jpeg

    checks = Checks(50_000_000, 32, 20.0)
    sizes = ((320, 240), (640, 480), (1024, 768))
    batch = [(jpeg(*sizes[n % len(sizes)], seed=n), checks) for n in range(BATCH)]
    quick = {"quick": True} if "quick" in inspect.signature(Decoder).parameters else {}
    decoder = Decoder(max_pixels=checks.max_pixels, **quick)
    for _ in range(5):
        decoder.examine(batch)
    with usage_of(os.getpid()) as used:
        for _ in range(count // BATCH):
            assert len(decoder.examine(batch)) == BATCH
    decoder.close()
    return used.cpu_seconds / (count // BATCH * BATCH) * 1e6


def measured_in(checkout: Path, count: int) -> float:
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-P", __file__, "--one", count]
    return float(output_of(*command, cwd=checkout, env=env).split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout from before")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--pictures", type=int, default=3000)
    options = parser.parse_args()
    found: dict[Path, list[float]] = {PROJECT: [], options.other: []}
    for pair in range(options.pairs):
        for checkout in found if pair % 2 else reversed(found):
            found[checkout].append(measured_in(checkout, options.pictures))
        print(f"  {[f'{values[-1]:.0f} µs' for values in found.values()]}", flush=True)
    ours, theirs = found.values()
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    row = [f"{median(ours):.0f} µs", f"{median(theirs):.0f} µs", f"{median(ratios):.3f}"]
    header = ["CPU per picture", "before", "ratio, median of pairs", "spread"]
    text = table(header, [[*row, f"{min(ratios):.3f} to {max(ratios):.3f}"]])
    about = f"JPEG files of three sizes, {options.pairs} pairs in turns, {options.pictures:,} each."
    write_section("confined", "What confinement costs a picture", f"{about}\n\n{text}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(cpu_per_picture(int(sys.argv[2])))
    else:
        main()
