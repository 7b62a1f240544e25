"""A crawl of JPEGs from a local web server, beside img2dataset with the same pictures.

    python -m benchmarks.crawl [--rounds 3] [--images 5000]

The server is nginx if it is installed, else aiohttp; both crawlers are given it in turns.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.bench import BENCH_PYTHON, PEERS, PROCESSES, PROJECT, Bench, usage_of
from benchmarks.report import table, write_section
from tests.crawler.pictures import jpeg

PICTURES = PROJECT / ".pixsim" / "benchmarks" / "photographs"
PORT = 8473


def make_picture(number: int) -> None:
    """A 640x480 JPEG of about 62 KB with detail at several scales, different for each number."""
    path = PICTURES / f"{number}.jpg"
    if not path.exists():
        path.write_bytes(jpeg(640, 480, seed=number, quality=93))


def make_pictures(count: int) -> float:
    """Make what is missing; the average size in KB."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(make_picture, range(count), chunksize=50))
    return sum((PICTURES / f"{n}.jpg").stat().st_size for n in range(count)) / count / 1000


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The name of the server that serves the pictures on PORT."""
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx:
        config = folder / "nginx.conf"
        config.write_text(
            f"""worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
            {"user root;" if os.geteuid() == 0 else ""}
            events {{ worker_connections 2048; }}
            http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
                types {{ image/jpeg jpg; }} client_body_temp_path {folder}/body;
                proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
                uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
                server {{ listen 127.0.0.1:{PORT} backlog=1024; root {PICTURES}; }} }}"""
        )
        command = [nginx, "-c", str(config), "-p", str(folder)]
    else:
        code = (
            "from aiohttp import web; app = web.Application();"
            f"app.router.add_static('/', {str(PICTURES)!r});"
            f"web.run_app(app, host='127.0.0.1', port={PORT}, print=None)"
        )
        command = [sys.executable, "-c", code]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield "nginx" if nginx else "aiohttp"
    finally:
        server.terminate()
        server.wait(timeout=10)


def run_pixsim(bench: Bench, urls: Path, count: int) -> dict[str, float]:
    job = bench.crawl("--source", "urls", "--from", str(urls), "--max-images", str(count))
    with (
        bench.worker() as worker,
        usage_of(worker.pid) as used,
        usage_of(bench.postgres.pid or 0) as database,
    ):
        bench.wait_for(lambda: bench.sql("SELECT 1 FROM crawl_jobs WHERE status = 'completed'"))
    [(stored, outcomes, seconds)] = bench.sql(
        "DELETE FROM crawl_jobs WHERE id = %s RETURNING valid_images, outcomes,"
        " extract(epoch FROM completed_at - started_at)::float8",
        job,
    )
    print("   ", stored, "stored", outcomes, f"{seconds:.1f} s", flush=True)
    shutil.rmtree(bench.home / "blobs", ignore_errors=True)
    return {
        "rate": stored / seconds,
        "cpu": used.cpu_seconds / stored * 1000,
        "database cpu": database.cpu_seconds / stored * 1000,
        "memory": used.peak_megabytes,
    }


def run_img2dataset(urls: Path, folder: Path) -> dict[str, float]:
    output = folder / "img2dataset"
    process = subprocess.Popen(
        [BENCH_PYTHON, PEERS / "img2dataset_run.py", urls, output, str(PROCESSES)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )  # fmt: skip
    with usage_of(process.pid) as used:
        printed = process.communicate(timeout=600)[0]
    shutil.rmtree(output)
    stored, seconds = map(float, printed.partition("RESULT")[2].split())
    return {
        "rate": stored / seconds,
        "cpu": used.cpu_seconds / stored * 1000,
        "memory": used.peak_megabytes,
    }


def row(name: str, results: list[dict[str, float]], base: float) -> list[str]:
    rates = [result["rate"] for result in results]
    return [
        name,
        f"{median(rates):.0f}",
        f"{min(rates):.0f} to {max(rates):.0f}",
        f"{median(rates) / base:.2f}",
        f"{median(result['cpu'] for result in results):.2f} ms",
        f"{max(result['memory'] for result in results):.0f} MB",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    options = parser.parse_args()
    kilobytes = make_pictures(options.images)
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    with Bench(CRAWL_ALLOWED_PORTS=str(PORT), CRAWL_FOLDER_ROOTS="/") as bench:
        urls = bench.home / "urls.txt"
        urls.write_text(
            "".join(f"http://127.0.0.1:{PORT}/{n}.jpg\n" for n in range(options.images))
        )
        with served(bench.home) as server:
            for _ in range(options.rounds):
                ours.append(run_pixsim(bench, urls, options.images))
                theirs.append(run_img2dataset(urls, bench.home))
                print("  pixsim", ours[-1], "img2dataset", theirs[-1], flush=True)
    base = median(result["rate"] for result in theirs)
    header = ["", "images/s (median)", "spread", "× img2dataset", "CPU per image"]
    rows = [
        row(f"PixSim, {PROCESSES} worker processes", ours, base),
        row(f"img2dataset, {PROCESSES} processes × 64 threads", theirs, base),
    ]
    body = table([*header, "peak memory of a process"], rows)
    write_section(
        "crawl",
        "Crawl beside img2dataset",
        f"{body}\n\n{options.images:,} JPEGs of 640×480, {kilobytes:.0f} KB on average, from {server} "
        "on the same machine. PixSim decodes each strictly, hashes it twice, compares it with the "
        "others and records it with its provenance; PostgreSQL's CPU is extra: "
        f"{median(result['database cpu'] for result in ours):.2f} ms per image. img2dataset writes "
        "webdataset shards without resizing.",
    )


if __name__ == "__main__":
    main()
