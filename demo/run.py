"""The demo: a real crawl of a small web site on this machine, from nothing to a dataset; and beside
it a picture, an animation and a song that this machine generates.

    python -m demo.run [HOME_FOLDER] [OUTPUT_FOLDER]    `make demo`
    python -m demo.run --admin [HOME_FOLDER]            `make demo-admin`
    python -m demo.run --remove [HOME_FOLDER]           part of `make clean`

Everything it needs runs here while it runs: a PostgreSQL, a Redis, a Celery worker, the site. It
keeps its data in a home of its own and reads neither `.env` nor the variables that configure an
installation, so it cannot touch one. Exit code 0: the crawl brought exactly what the site has, and
everything that was asked for was generated.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from demo import generating
from demo.processes import PROJECT, check_not_ended, last_lines, orderly_end, running
from demo.report import differences, display, outcome_table

if TYPE_CHECKING:
    from crawler.models import CrawlJob
    from jobs.models import Job

HOME = PROJECT / ".pixsim" / "demo"
OUTPUT = PROJECT / "demo-output"
USER = "demo"
WORKERS = 2
ASKED_FOR = 400
"""More than the site has, so that the crawl ends when it has seen everything."""
CRAWL_SECONDS = 180.0
GENERATION_SECONDS = 60.0
"""So long after the crawl a generation may go on."""
POLL_SECONDS = 0.2

# What of the caller's environment reaches the demo.
KEPT = ("PATH", "HOME", "TMPDIR", "TERM", "COLUMNS", "NO_COLOR", "LANG", "LC_ALL", "PYTHONPATH")


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


def main(words: list[str]) -> None:
    folders = [Path(word).resolve() for word in words if not word.startswith("--")]
    home = folders[0] if folders else HOME
    output = folders[1] if len(folders) > 1 else OUTPUT
    isolate(home)
    console = Console(highlight=False)
    try:
        with orderly_end():
            if "--admin" in words:
                open_admin(console, home)
            elif "--remove" in words:
                remove(home)
            else:
                sys.exit(0 if run_demo(console, home, output) else 1)
    except DemoFailed as error:
        console.print(f"The demo failed. {error}", style="red", markup=False)
        sys.exit(1)


def isolate(home: Path) -> None:
    """Leave the caller's configuration behind; this process and its children run in `home`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(
        kept,
        DJANGO_SETTINGS_MODULE="demo.settings",
        PIXSIM_HOME=str(home),
        PIXSIM_ENV_FILE=str(home / "no.env"),
        EMBEDDED_IDLE_SECONDS="5",
        LOG_LEVEL="WARNING",
        PYTHONUNBUFFERED="1",
    )


def open_admin(console: Console, home: Path) -> None:
    """The web site and a worker on what the demo has left, until Ctrl-C."""
    if not (home / "admin_password").exists():
        raise DemoFailed("There is nothing to look at yet: run `make demo` first.")
    console.print(f"Log in as [bold]{USER}[/] with the password [bold]{_password(home)}[/].")
    words = [sys.executable, str(PROJECT / "manage.py"), "up", "--migrate"]
    os.execv(sys.executable, words)  # noqa: S606 - it must hear Ctrl-C itself


def remove(home: Path) -> None:
    """Stop what runs in `home` and remove all that was kept there."""
    import django

    django.setup()
    from pixsim.embedded import client
    from pixsim.embedded.paths import paths_for

    if home.exists():
        client.stop(force=True)
        paths = paths_for(home)
        for folder in (paths.run, paths.folder, home):
            shutil.rmtree(folder, ignore_errors=True)


def run_demo(console: Console, home: Path, output: Path) -> bool:
    """Whether the crawl brought what the site has and each generation was completed."""
    began = time.monotonic()
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    with ExitStack() as stack:
        console.print("Drawing pictures and starting a web site that serves them …")
        site = _start_site(stack, home)
        console.print("Starting PostgreSQL and Redis, and migrating the database …")
        _start_services(stack)
        _add_admin(home)
        worker_log = home / "worker.log"
        console.print(f"Starting a Celery worker (log: {_short(worker_log)}) …")
        worker = _start_worker(stack, worker_log)
        about = _when_ready(site, home / "site.log")
        generations = generating.ask()
        console.print(f"Crawling {about['url']}, and generating a picture, an animation, a song …")
        job = _crawl(console, about, worker, worker_log)
        _wait_for(generations, worker, worker_log)
        is_right = _report(console, job, about)
        _export(console, job, output)
        is_right &= _show(console, generations, output)
    _say_how_to_look_around(console, home)
    console.print(f"Done in {time.monotonic() - began:.0f} s. Everything it started has ended.")
    return is_right


# Starting things


def _start_site(stack: ExitStack, home: Path) -> subprocess.Popen[str]:
    log = stack.enter_context((home / "site.log").open("w"))
    cache = str(home / "site")
    return stack.enter_context(
        running("-m", "demo.site", cache, output=subprocess.PIPE, errors=log)
    )


def _when_ready(site: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """What the site says about itself, once it can be asked."""
    assert site.stdout is not None  # noqa: S101 - for the type checker
    line = site.stdout.readline()
    if not line:
        raise DemoFailed(f"The demo's web site did not start:\n{last_lines(log)}")
    about: dict[str, Any] = json.loads(line)
    return about


def _start_services(stack: ExitStack) -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from pixsim.embedded import client
    from pixsim.embedded.errors import EmbeddedServiceError

    try:
        client.need(*settings.EMBEDDED_SERVICES)
    except EmbeddedServiceError as error:
        raise DemoFailed(str(error)) from error
    stack.callback(_stop_services)
    call_command("migrate", verbosity=0)


def _stop_services() -> None:
    """Stop PostgreSQL and Redis, unless somebody else looks around in them (`make demo-admin`)."""
    from django.db import connections

    from pixsim.embedded import client

    connections.close_all()
    status = client.status()
    if status and not set(status["clients"]) - {os.getpid()}:
        client.stop(force=True)


def _start_worker(stack: ExitStack, log: Path) -> subprocess.Popen[str]:
    file = stack.enter_context(log.open("w"))
    words = ["-m", "celery", "-A", "pixsim", "worker", "--loglevel", "INFO"]
    return stack.enter_context(
        running(*words, "--concurrency", str(WORKERS), output=file, errors=subprocess.STDOUT)
    )


def _add_admin(home: Path) -> None:
    from django.contrib.auth import get_user_model

    users = get_user_model()._default_manager
    user, _made = users.get_or_create(
        username=USER, defaults={"is_staff": True, "is_superuser": True}
    )
    user.set_password(_password(home))
    user.save()


def _password(home: Path) -> str:
    from pixsim.environment import kept_secret

    return kept_secret(home / "admin_password", lambda: secrets.token_urlsafe(9))


# The crawl


def _crawl(
    console: Console, about: dict[str, Any], worker: subprocess.Popen[str], log: Path
) -> "CrawlJob":
    """Ask for the crawl and watch it to its end."""
    from crawler.services import accepting

    job = accepting.create_crawl_job(
        owner=None,
        name="Demo",
        max_images=ASKED_FOR,
        source_specs=[accepting.SourceSpec(**source) for source in about["sources"]],
        keywords=sorted(about["labels"]),
        options={"max_bytes": about["max_bytes"]},
    )
    deadline = time.monotonic() + CRAWL_SECONDS
    with display(console, total=sum(about["outcomes"].values())) as shown:
        while True:
            job.refresh_from_db()
            shown.show(
                closed=sum(job.outcomes.values()),
                stored=job.valid_images,
                chunks=f"{job.completed_chunks} of {job.total_chunks} chunks done",
            )
            if not job.is_open:
                return job
            _check_alive(worker, log)
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"The crawl has not ended within {CRAWL_SECONDS:.0f} s:\n{last_lines(log)}"
                )
            time.sleep(POLL_SECONDS)


def _check_alive(worker: subprocess.Popen[str], log: Path) -> None:
    check_not_ended()
    if worker.poll() is not None:
        raise DemoFailed(f"The worker has ended:\n{last_lines(log)}")


def _report(console: Console, job: "CrawlJob", about: dict[str, Any]) -> bool:
    """Print what came of the crawl; whether it is what the site has."""
    from crawler.models import Image

    labels = Counter(
        Image.objects.filter(crawl_job=job).in_dataset().values_list("label", flat=True)
    )
    seconds = ((job.completed_at or job.updated_at) - job.created_at).total_seconds()
    title = f"Crawl job {job.pk}: {job.status} in {seconds:.1f} s, {job.valid_images} pictures"
    console.print()
    console.print(outcome_table(title, found=job.outcomes, expected=about["outcomes"]))
    wrong = differences(job.outcomes, about["outcomes"], what="outcome")
    wrong += differences(labels, about["labels"], what="pictures labelled")
    if job.status != "completed":
        wrong.append(f"the job ended as {job.status}: {job.error_message}")
    if wrong:
        console.print("Not as expected: " + "; ".join(wrong), style="red", markup=False)
    else:
        console.print(
            "Every address ended as it must: the dataset is exactly the site's distinct,\n"
            "whole and allowed pictures.",
            style="green",
        )
    console.print()
    return not wrong


def _export(console: Console, job: "CrawlJob", output: Path) -> None:
    from crawler.export import export_job
    from crawler.export.sheet import contact_sheet

    output.mkdir(exist_ok=True)
    for earlier in output.glob("demo-*.zip"):
        earlier.unlink()
    sheet = contact_sheet(job_id=job.pk, path=output / "contact-sheet.png")
    export = export_job(job_id=job.pk, folder=output)
    size = export.size / 1024**2
    pictures = f"({export.images} pictures, {size:.1f} MB)"
    console.print(f"Contact sheet: {_short(sheet)}", soft_wrap=True)
    console.print(f"Dataset:       {_short(export.path)} {pictures}", soft_wrap=True)


# The generations


def _wait_for(jobs: "list[Job]", worker: subprocess.Popen[str], log: Path) -> None:
    """Until all have ended; what has not after GENERATION_SECONDS is told of as it is then."""
    deadline = time.monotonic() + GENERATION_SECONDS
    while not generating.all_have_ended(jobs) and time.monotonic() < deadline:
        _check_alive(worker, log)
        time.sleep(POLL_SECONDS)


def _show(console: Console, jobs: "list[Job]", output: Path) -> bool:
    """A line for each generation, with its file; whether all were completed."""
    from jobs.management.generations import sentence

    for job in jobs:
        name = f"{(job.name or '').capitalize()}:"
        if generating.is_made(job) and job.asset is not None:
            file = _short(generating.keep_file(job, output))
            console.print(f"{name:14} {file} ({generating.about(job.asset)})", soft_wrap=True)
        else:
            console.print(f"{name:14} {sentence(job)}", style="red", markup=False, soft_wrap=True)
    return all(map(generating.is_made, jobs))


def _say_how_to_look_around(console: Console, home: Path) -> None:
    console.print(
        "Admin:         make demo-admin, then http://127.0.0.1:8000/admin/ "
        f"(user [bold]{USER}[/], password [bold]{_password(home)}[/])",
        soft_wrap=True,
    )


def _short(path: Path) -> str:
    """As one would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


if __name__ == "__main__":
    main(sys.argv[1:])
