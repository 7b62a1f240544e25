"""`manage.py queue …`: see, check and maintain the queue and its workers, work without Celery."""

import os
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from jobs.management import queue_work, reports
from jobs.queue.kinds import DEFAULT_GRACE, Kind, Options, all_kinds, kind_named
from jobs.queue.ops import check, maintenance, status, workers
from pixsim.core import cli
from pixsim.core.cli.progress import Display, display_on


class Command(cli.Command):
    help = (
        "Show what the queue does, check its invariants, do its regular maintenance, or work without "
        "Celery."
    )
    database_exit_code = cli.ExitCode.USAGE

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, text in (
            ("status", "figures of each kind of work"),
            (
                "check",
                "check the invariants on the live database; exit code 1 and the rows if one is "
                "broken. Reads whole tables, which slows the queue for that time",
            ),
        ):
            action = actions.add_parser(name, help=text)
            cli.add_json_flag(action)
            action.add_argument("--kind", help="only this kind of work")

        action = actions.add_parser(
            "workers", help="the workers that are alive, what each does, and since when"
        )
        cli.add_json_flag(action)
        for name, text in (
            ("drain", "let a worker end what it has in hand, and take nothing more"),
            ("undrain", "let a drained worker take work again"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("worker", help="its name, as `queue workers` shows it")

        add = actions.add_parser(
            "maintain",
            help="the regular work: ANALYZE, VACUUM (ANALYZE), orphan blobs, unfinished files",
        ).add_argument
        add("--dry-run", action="store_true", help="count, change nothing")
        add("--force", action="store_true", help="remove orphan blobs even if most blobs are")
        add(
            "--grace",
            type=cli.positive_seconds,
            metavar="SECONDS",
            default=DEFAULT_GRACE.total_seconds(),
            help="leave younger blobs and files alone (default: one hour)",
        )

        add = actions.add_parser(
            "work", help="run the worker loop in this process, without Celery, until it is stopped"
        ).add_argument
        add(
            "--while-stdin-open",
            action="store_true",
            help="end when standard input closes, or when nothing was ready for "
            f"{queue_work.IDLE_SECONDS:g} s",
        )
        add(
            "--for",
            type=cli.positive_seconds,
            metavar="SECONDS",
            dest="seconds",
            help="end after so long",
        )
        add(
            "--until-idle",
            action="store_true",
            help="end when no work is left that would run now or within "
            f"{queue_work.SOON_SECONDS:g} s",
        )

    def handle(self, *, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(**options)

    def _status(self, *, json: bool, kind: str | None, **options: Any) -> None:
        found = [status.snapshot(one) for one in _kinds(kind)]
        if json:
            self.print_json({"kinds": {one.kind: one.as_dict() for one in found}})
            return
        for one in found:
            self.stdout.write(reports.status_tables(one))

    def _check(self, *, json: bool, kind: str | None, **options: Any) -> None:
        findings = check.check(_kinds(kind))
        broken = [finding for finding in findings if not finding.holds]
        if json:
            self.print_json(
                {"ok": not broken, "invariants": [reports.finding_dict(f) for f in findings]}
            )
        else:
            for finding in findings:
                self.stdout.write(reports.finding_lines(finding))
        if broken:
            sys.exit(cli.ExitCode.FAILED)

    def _workers(self, *, json: bool, **options: Any) -> None:
        alive = workers.alive()
        if json:
            self.print_json({"workers": [one.as_dict() for one in alive]})
        else:
            self.stdout.write(reports.worker_tables(alive))

    def _drain(self, *, worker: str, **options: Any) -> None:
        self._change_worker(workers.drain, worker, "takes nothing more")

    def _undrain(self, *, worker: str, **options: Any) -> None:
        self._change_worker(workers.undrain, worker, "takes work again")

    def _change_worker(self, change: Callable[..., int], worker: str, done: str) -> None:
        if not change(worker):
            names = ", ".join(one.name for one in workers.alive()) or "none"
            raise cli.UsageError(f"No worker named {worker!r} is alive. There are: {names}.")
        self.stdout.write(f"{worker} {done}, within a second or two.")

    def _maintain(self, *, dry_run: bool, force: bool, grace: float, **options: Any) -> None:
        least = maintenance.least_grace().total_seconds()
        if grace < least:
            raise cli.UsageError(
                f"--grace: must be at least {least:g} s (stall limit and lease), not {grace:g}: a "
                "worker may need so long between storing bytes and recording them."
            )
        chosen = Options(dry_run=dry_run, force=force, grace=timedelta(seconds=grace))
        problems = 0
        with display_on(self.stderr, quiet=not self.stderr.isatty()) as display:
            for chore in maintenance.chores(all_kinds()):
                display.show(chore.name)
                result = chore.run(chosen, partial(_show_count, display, chore.name))
                self.stdout.write(f"{chore.name}: {result.summary}")
                if result.problem:
                    problems += 1
                    self.stdout.write(f"    {result.problem}")
        if problems:
            sys.exit(cli.ExitCode.FAILED)

    def _work(self, **options: Any) -> None:
        given = {name: options[name] for name in ("while_stdin_open", "seconds", "until_idle")}
        finished = queue_work.run(task_id=f"work@{socket.gethostname()}:{os.getpid()}", **given)
        self.stdout.write(f"{finished:,} items were worked on.")


def _show_count(display: Display, chore: str, count: int) -> None:
    display.show(f"{chore}: {count:,}")


def _kinds(name: str | None) -> Sequence[Kind]:
    try:
        return all_kinds() if name is None else (kind_named(name),)
    except LookupError as error:
        names = ", ".join(kind.name for kind in all_kinds())
        raise cli.UsageError(f"--kind: {error.args[0]} There are: {names}.") from error
