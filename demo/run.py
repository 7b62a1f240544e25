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

import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import django
from django.core.management.base import CommandError
from rich.console import Console

from demo.processes import announced_by, check_not_ended, orderly_end, running, short
from pixsim.embedded.servers import tail
from pixsim.processes import PROJECT

# What needs the settings is imported where it is used, after `isolate`.

HOME = PROJECT / ".pixsim" / "demo"
OUTPUT = PROJECT / "demo-output"
USER = "demo"
WORKERS = 2

# What of the caller's environment reaches the demo.
KEPT = ("PATH", "HOME", "TMPDIR", "TERM", "COLUMNS", "NO_COLOR", "LANG", "LC_ALL", "PYTHONPATH")


def main(words: list[str]) -> None:
    folders = [Path(word).resolve() for word in words if not word.startswith("--")]
    home, output, *_others = [*folders, *(HOME, OUTPUT)[len(folders) :]]
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
    except CommandError as error:
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
        raise CommandError("There is nothing to look at yet: run `make demo` first.")
    console.print(f"Log in as [bold]{USER}[/] with the password [bold]{_password(home)}[/].")
    words = [sys.executable, str(PROJECT / "manage.py"), "up", "--migrate"]
    os.execv(sys.executable, words)  # noqa: S606 - it must hear Ctrl-C itself


def remove(home: Path) -> None:
    """Stop what runs in `home` and remove all that was kept there."""
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
        site_log, worker_log = home / "site.log", home / "worker.log"
        errors = stack.enter_context(site_log.open("w"))
        words = ["-m", "demo.site", str(home / "site")]
        site = stack.enter_context(running(*words, stdout=subprocess.PIPE, log=errors))
        console.print("Starting PostgreSQL and Redis, and migrating the database …")
        _start_services(stack)
        _add_admin(home)
        console.print(f"Starting a Celery worker (log: {short(worker_log)}) …")
        from pixsim.management.commands.up import worker_command

        output_of_worker = stack.enter_context(worker_log.open("w"))
        worker = stack.enter_context(running(*worker_command(WORKERS)[1:], log=output_of_worker))
        about = announced_by(site)
        if about is None:
            raise CommandError(f"The demo's web site did not start:\n{tail(site_log)}")

        def check() -> None:
            check_not_ended()
            if worker.poll() is not None:
                raise CommandError(f"The worker has ended:\n{tail(worker_log)}")

        from demo import crawling, generating

        generations = generating.ask()
        console.print(f"Crawling {about['url']}, and generating a picture, an animation, a song …")
        job = crawling.crawl(about, check)
        if job.is_open:
            raise CommandError(f"The crawl takes too long. The worker:\n{tail(worker_log)}")
        generating.wait_for(generations, check)
        is_right = crawling.report(console, job, about)
        crawling.export(console, job, output)
        is_right &= generating.show(console, generations, output)
    console.print(
        "Admin:         make demo-admin, then http://127.0.0.1:8000/admin/ "
        f"(user [bold]{USER}[/], password [bold]{_password(home)}[/])",
        soft_wrap=True,
    )
    console.print(f"Done in {time.monotonic() - began:.0f} s. Everything it started has ended.")
    return is_right


def _start_services(stack: ExitStack) -> None:
    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from pixsim.embedded import client

    client.need(*settings.EMBEDDED_SERVICES)
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

    return kept_secret(home / "admin_password", secrets.token_urlsafe(9))


if __name__ == "__main__":
    main(sys.argv[1:])
