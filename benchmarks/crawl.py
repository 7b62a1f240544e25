"""A crawl of JPEGs from a local web server, beside img2dataset with the same pictures.

    python -m benchmarks.crawl [--rounds 3] [--images 5000]

The server is nginx if it is installed, else aiohttp; both crawlers are given it in turns.
"""

import argparse
import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.report import median, table, write_section
from tests.world import PROJECT, World

PEERS = Path(__file__).with_name("peers")
BENCH_PYTHON = PROJECT / ".venv-bench" / "bin" / "python"
PICTURES = PROJECT / ".pixsim" / "benchmarks" / "pictures"
PORT = 8473
PROCESSES = 2
PRODUCTION = {
    "ALLOWED_HOSTS": "localhost",
    "SECRET_KEY": "benchmark",
    "CREDENTIALS_KEYS": "benchmark",
    "CRAWL_FOLDER_ROOTS": "/",
}


def make_picture(number: int) -> None:
    """A 640x480 JPEG of about 62 KB with detail at several scales, different for each number."""
    path = PICTURES / f"{number}.jpg"
    if path.exists():
        return
    random = np.random.default_rng(number)
    scene = np.zeros((480, 640, 3), np.float32)
    for cells, weight in ((4, 60), (16, 35), (64, 20)):
        noise = random.integers(0, 255, (cells * 3 // 4, cells, 3), np.uint8)
        scene += np.asarray(Image.fromarray(noise).resize((640, 480), 3), np.float32) * weight / 115
    scene += random.normal(0, 4.9, (480, 640, 1))
    buffer = io.BytesIO()
    Image.fromarray(scene.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=84)
    path.write_bytes(buffer.getvalue())


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


class Watch:
    """CPU seconds and peak memory of some process trees, sampled ten times a second."""

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self._cpu: dict[int, float] = {}
        self.peaks: dict[int, tuple[str, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._first = self._sample()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    @property
    def cpu_seconds(self) -> float:
        return sum(self._cpu.values()) - self._first

    @property
    def peak_megabytes(self) -> float:
        return max(peak for _name, peak in self.peaks.values()) / 1e6

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self._sample()

    def _sample(self) -> float:
        for root in self._roots:
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(root)
                for process in [parent, *parent.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                        times = process.cpu_times()
                        self._cpu[process.pid] = times.user + times.system
                        memory = process.memory_info().rss
                        known = self.peaks.get(process.pid, ("", 0))[1]
                        self.peaks[process.pid] = (process.name(), max(known, memory))
        return sum(self._cpu.values())


def run_pixsim(world: World, urls: Path, count: int) -> dict[str, float]:
    job = world.crawl("--source", "urls", "--from", str(urls), "--max-images", str(count))
    worker = world.start_worker(concurrency=PROCESSES)
    try:
        with Watch(worker.pid) as watch, Watch(world.postgres.pid or 0) as database:
            world.wait_until(
                lambda: (
                    world.sql("SELECT status FROM crawl_jobs WHERE id = %s", job)[0][0]
                    == "completed"
                ),
                seconds=300,
                what="the end of the crawl",
            )
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=30)
    [(stored, seconds)] = world.sql(
        "SELECT valid_images, extract(epoch FROM completed_at - started_at)::float8"
        " FROM crawl_jobs WHERE id = %s",
        job,
    )
    outcomes = world.sql("SELECT outcomes FROM crawl_jobs WHERE id = %s", job)[0][0]
    print("   ", stored, "stored", outcomes, f"{seconds:.1f} s", flush=True)
    world.sql("DELETE FROM crawl_jobs WHERE id = %s", job)
    shutil.rmtree(world.home / "blobs", ignore_errors=True)
    return {
        "rate": stored / seconds,
        "cpu": watch.cpu_seconds / stored * 1000,
        "database cpu": database.cpu_seconds / stored * 1000,
        "memory": watch.peak_megabytes,
    }


def run_img2dataset(urls: Path, folder: Path) -> dict[str, float]:
    output = folder / "img2dataset"
    shutil.rmtree(output, ignore_errors=True)
    process = subprocess.Popen(
        [BENCH_PYTHON, PEERS / "img2dataset_run.py", urls, output, str(PROCESSES)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )  # fmt: skip
    with Watch(process.pid) as watch:
        printed = process.communicate(timeout=600)[0]
    stored, seconds = printed.partition("RESULT")[2].split()
    shutil.rmtree(output, ignore_errors=True)
    return {
        "rate": int(stored) / float(seconds),
        "cpu": watch.cpu_seconds / int(stored) * 1000,
        "memory": watch.peak_megabytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    options = parser.parse_args()
    kilobytes = make_pictures(options.images)
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    with World(**PRODUCTION, CRAWL_ALLOWED_PORTS=str(PORT), QUEUE_LEASE_SECONDS="30") as world:
        urls = world.home / "urls.txt"
        urls.write_text(
            "\n".join(f"http://127.0.0.1:{PORT}/{n}.jpg" for n in range(options.images))
        )
        with served(world.home) as server:
            for _ in range(options.rounds):
                ours.append(run_pixsim(world, urls, options.images))
                print("  pixsim", ours[-1], flush=True)
                if BENCH_PYTHON.exists():
                    theirs.append(run_img2dataset(urls, world.home))
                    print("  img2dataset", theirs[-1], flush=True)

    def row(name: str, results: list[dict[str, float]]) -> list[str]:
        rates = [result["rate"] for result in results]
        base = median([result["rate"] for result in theirs])
        return [
            name,
            f"{median(rates):.0f}",
            f"{min(rates):.0f} to {max(rates):.0f}",
            f"{median(rates) / base:.2f}",
            f"{median([result['cpu'] for result in results]):.2f} ms",
            f"{max(result['memory'] for result in results):.0f} MB",
        ]

    body = table(
        [
            "",
            "images/s (median)",
            "spread",
            "× img2dataset",
            "CPU per image",
            "peak memory of a process",
        ],
        [
            row("PixSim, 2 worker processes", ours),
            row("img2dataset, 2 processes × 64 threads", theirs),
        ],
    )
    body += (
        f"\n\n{options.images:,} JPEGs of 640×480, {kilobytes:.0f} KB on average, from {server} on the "
        "same machine. PixSim decodes each strictly, hashes it twice, compares it with the others "
        "and records it with its provenance; PostgreSQL's CPU is extra: "
        f"{median([result['database cpu'] for result in ours]):.2f} ms per image. img2dataset writes "
        "webdataset shards without resizing."
    )
    write_section("crawl", "Crawl beside img2dataset", body)


if __name__ == "__main__":
    main()
