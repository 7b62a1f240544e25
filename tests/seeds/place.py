"""Where a check runs: a database, a folder, and the commands and statements that it may give."""

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management import execute_from_command_line
from django.db import connection
from django.test import Client

from pixsim.schema.programs import environment, find_program
from tests import databases
from tests.crawler.in_process import wait_until, working
from tests.databases import PROJECT
from tests.schema.packages import Packages
from tests.scratch import Ran


class Place:
    """Gives commands to the database of one check, and remembers them."""

    def __init__(self, folder: Path, packages: Packages) -> None:
        self.folder = folder
        """An empty folder of this check alone."""
        self.packages = packages
        """Makes apps with migrations, for what must not be in ours."""
        self.ran: list[str] = []
        """Every command and statement, as a person would type it."""

    def manage(self, line: str, *, code: int = 0) -> Ran:
        """Run `manage.py <line>` in this process. Its exit code must be `code`."""
        self.ran.append(f"manage.py {line}".replace(str(self.folder), "FOLDER"))
        out, err = io.StringIO(), io.StringIO()
        ended = 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                execute_from_command_line(["manage.py", *shlex.split(line)])
            except SystemExit as error:
                ended = error.code if isinstance(error.code, int) else 1
        ran = Ran(ended, out.getvalue(), err.getvalue())
        assert ran.code == code, f"{line}: exit code {ran.code}, not {code}\n{ran.out}\n{ran.err}"
        return ran

    def says(self, line: str, *texts: str, code: int = 0) -> Ran:
        """Run `manage.py <line>`; each of `texts` must be in what it writes."""
        ran = self.manage(line, code=code)
        written = ran.out + ran.err
        for text in texts:
            assert text in written, f"{line} does not say {text!r}:\n{written}"
        return ran

    def process(
        self, line: str, *, env: dict[str, str] | None = None, code: int = 0, cwd: Path = PROJECT
    ) -> str:
        """Run a command line as a process of its own; return what it writes.

        DATABASE_URL names this database, unless `env` says otherwise.
        """
        self.ran.append(line)
        words = shlex.split(line)
        if words[0] == "python":
            words[0] = sys.executable
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, "DATABASE_URL": self.url, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run a real Celery worker on this database inside the block, with a folder as its broker."""
        line = "celery -A pixsim worker --concurrency 2"
        self.ran.append(line)
        folder = str(self.folder)
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *line.split()],
                cwd=PROJECT,
                env={
                    **os.environ,
                    "DATABASE_URL": self.url,
                    "CELERY_BROKER_URL": f"filesystem://{folder}/broker",
                    "PIXSIM_BLOBS": f"{folder}/blobs",
                    "CRAWL_FOLDER_ROOTS": folder,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def work(self, until: Callable[[], object]) -> None:
        """Let a worker work in this process until `until` is true."""
        self.ran.append("manage.py queue work")
        with working():
            wait_until(until)

    def psql(self, command: str) -> str:
        """Run a command of psql, such as `\\d jobs`; return what it prints."""
        self.ran.append(command)
        program = find_program("psql", at_least=14)
        done = subprocess.run(
            [program.path, "--no-psqlrc"],
            env=environment(connection),
            input=f"{command}\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def sql(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        self.ran.append(" ".join(statement.split()))
        return self.ask(statement, *params)

    def ask(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement of the check's own, which is not what the row is about."""
        with connection.cursor() as cursor:
            cursor.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *params: Any) -> Any:
        """Run a statement of the check's own, and return its one value."""
        [[value]] = self.ask(statement, *params)
        return value

    def page(self, path: str, **sent: Any) -> str:
        """Return a page of the admin, as the superuser ada sees it; with `sent`, send that form."""
        self.ran.append(path)
        browser = Client()
        browser.force_login(User.objects.get(username="ada"))
        answer = browser.post(path, sent, follow=True) if sent else browser.get(path, follow=True)
        assert answer.status_code == 200, answer.status_code
        return answer.content.decode()

    def text(self, path: str) -> str:
        """Return the content of a file of this project."""
        self.ran.append(path)
        return (PROJECT / path).read_text()

    @property
    def url(self) -> str:
        """The database's URL."""
        return databases.url_of(connection)
