"""`manage.py queue status|check|maintain|work`: the operator's face of the queue."""

import json
import os
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError, ProgrammingError, connection
from psycopg.errors import UndefinedTable

from jobs.management import queue_work, reports
from jobs.queue.kinds import Kind, all_kinds, kind_named
from jobs.queue.ops import check, maintenance, status

BROKEN, NOT_RUN = 1, 2
"""Exit codes: something is not as it should be; the command could not do its work."""


class Command(BaseCommand):
    help = (
        "What the queue is doing, whether it keeps its promises, its regular maintenance, and "
        "working without Celery."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)

        action = actions.add_parser("status", help="figures of each kind of work")
        action.add_argument("--json", action="store_true", help="print one object")
        action.add_argument("--kind", help="only this kind of work")

        action = actions.add_parser(
            "check",
            help="prove the invariants on the live database; exit code 1 and the rows if one is "
            "broken. Reads whole tables, which slows the queue for that time",
        )
        action.add_argument("--json", action="store_true", help="print one object")
        action.add_argument("--kind", help="only this kind of work")

        action = actions.add_parser(
            "maintain",
            help="the regular work: ANALYZE, VACUUM (ANALYZE), orphan blobs, unfinished files",
        )
        action.add_argument("--dry-run", action="store_true", help="count, change nothing")
        action.add_argument(
            "--force", action="store_true", help="remove orphan blobs even if most blobs are"
        )
        action.add_argument(
            "--grace",
            type=_seconds,
            metavar="SECONDS",
            default=maintenance.DEFAULT_GRACE.total_seconds(),
            help="blobs and files younger than this are left alone (default: one hour)",
        )

        action = actions.add_parser(
            "work", help="work in this process, without Celery, until it is stopped"
        )
        action.add_argument(
            "--while-stdin-open",
            action="store_true",
            help="end when standard input closes, or when nothing was ready for "
            f"{queue_work.IDLE_SECONDS:g} s",
        )
        action.add_argument(
            "--for", type=_seconds, metavar="SECONDS", dest="seconds", help="end after so long"
        )
        action.add_argument(
            "--until-idle",
            action="store_true",
            help="end when no work is left that would run now or within "
            f"{queue_work.SOON_SECONDS:g} s",
        )

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            connection.ensure_connection()
            getattr(self, f"_{action}")(**options)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, UndefinedTable):
                raise
            raise CommandError(
                f"The database has not the tables of this version: {_first_line(error)}. Run "
                "`manage.py migrate`.",
                returncode=NOT_RUN,
            ) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"The database cannot be reached or was lost: {_first_line(error)}. Check DATABASE_URL and "
                "that PostgreSQL runs, then try again.",
                returncode=NOT_RUN,
            ) from error

    def _status(self, *, json: bool, kind: str | None, **options: Any) -> None:
        found = [status.snapshot(one) for one in _kinds(kind)]
        if json:
            self._print_json({"kinds": {one.kind: one.as_dict() for one in found}})
            return
        for one in found:
            self.stdout.write(reports.status_tables(one))

    def _check(self, *, json: bool, kind: str | None, **options: Any) -> None:
        findings = check.check(_kinds(kind))
        broken = [finding for finding in findings if not finding.holds]
        if json:
            self._print_json(
                {"ok": not broken, "invariants": [reports.finding_dict(f) for f in findings]}
            )
        else:
            for finding in findings:
                self.stdout.write(reports.finding_lines(finding))
        if broken:
            sys.exit(BROKEN)

    def _maintain(self, *, dry_run: bool, force: bool, grace: float, **options: Any) -> None:
        least = maintenance.least_grace().total_seconds()
        if grace < least:
            raise CommandError(
                f"--grace: must be at least {least:g} s (stall limit and lease), not {grace:g}: a "
                "worker may need so long between storing bytes and recording them.",
                returncode=NOT_RUN,
            )
        chosen = maintenance.Options(dry_run=dry_run, force=force, grace=timedelta(seconds=grace))
        problems = 0
        with reports.progress() as show:
            for chore in maintenance.chores(all_kinds()):
                result = chore.run(chosen, show(chore.name))
                self.stdout.write(f"{chore.name}: {result.summary}")
                if result.problem:
                    problems += 1
                    self.stdout.write(f"    {result.problem}")
        if problems:
            sys.exit(BROKEN)

    def _work(
        self, *, while_stdin_open: bool, seconds: float | None, until_idle: bool, **options: Any
    ) -> None:
        finished = queue_work.run(
            task_id=f"work@{socket.gethostname()}:{os.getpid()}",
            while_stdin_open=while_stdin_open,
            seconds=seconds,
            until_idle=until_idle,
        )
        self.stdout.write(f"{finished:,} items were worked on.")

    def _print_json(self, value: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(value, cls=DjangoJSONEncoder))


def _kinds(name: str | None) -> Sequence[Kind]:
    if name is None:
        return all_kinds()
    try:
        return (kind_named(name),)
    except LookupError as error:
        names = ", ".join(kind.name for kind in all_kinds())
        raise CommandError(
            f"--kind: {error.args[0]} There are: {names}.", returncode=NOT_RUN
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or "no answer"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError(f"must be a number of seconds greater than 0, not {text!r}")
    return seconds
