"""`manage.py queue …`: see, check and maintain the queue and its workers, work without Celery."""

import os
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from accounts.management.lookup import find_profile
from jobs.management import queue_work, reports
from jobs.models import QueuePause
from jobs.queue import api, pauses
from jobs.queue.kinds import DEFAULT_GRACE, Kind, Options, all_kinds, kind_named
from jobs.queue.ops import check, failures, maintenance, status, trends, why, workers
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
            "trends", help="throughput, processing time, failures and retries, period by period"
        )
        cli.add_json_flag(action)
        action.add_argument("--kind", help="only this kind of work")
        shown = ", ".join(f"{count} {unit}s" for unit, (_, count) in trends.UNITS.items())
        action.add_argument(
            "--by", choices=trends.UNITS, default="day", help=f"{shown} (default: day)"
        )

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

        action = actions.add_parser("why", help="why an item is not running, in a sentence")
        cli.add_json_flag(action)
        action.add_argument("item", type=int, help="the number of a chunk, source or generation")
        action.add_argument("--kind", help="only this kind of work")
        for name, text in (
            ("pause", "take nothing more of a kind, an owner or a host; what is in hand goes on"),
            ("resume", "take a pause back"),
        ):
            action = actions.add_parser(name, help=text)
            what = action.add_mutually_exclusive_group(required=True)
            what.add_argument("--kind", help="a kind of work")
            what.add_argument("--owner", metavar="EMAIL", help="whose work it is")
            what.add_argument("--host", help="a host: its name holds all ports, name:port only one")
            if name == "pause":
                action.add_argument("--reason", default="", help="for others to read")
        cli.add_json_flag(actions.add_parser("pauses", help="what is paused, since when, by whom"))
        cli.add_json_flag(
            actions.add_parser(
                "failures", help="failed items by kind and class of their last error"
            )
        )
        action = actions.add_parser(
            "retry", help="start anew all that failed for one kind of error"
        )
        cli.add_json_flag(action)
        action.add_argument("--error-class", required=True, help="as `queue failures` shows it")
        action.add_argument("--kind", help="only this kind of work")
        action.add_argument(
            "--since",
            type=cli.positive_seconds,
            metavar="SECONDS",
            default=86_400.0,
            help="failed within so long (default: one day)",
        )

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

    def _trends(self, *, json: bool, kind: str | None, by: trends.Unit, **options: Any) -> None:
        found = {one.name: trends.trend(one.name, by) for one in _kinds(kind)}
        if json:
            told = {name: [one.as_dict() for one in periods] for name, periods in found.items()}
            self.print_json({"by": by, "kinds": told})
            return
        for name, periods in found.items():
            self.stdout.write(reports.trend_table(name, by, periods))

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

    def _why(self, *, item: int, json: bool, kind: str | None, **options: Any) -> None:
        found = why.explain(item, tuple(_kinds(kind)))
        if not found:
            raise cli.UsageError(
                f"There is no item {item}" + (f" of kind {kind}." if kind else ".")
            )
        if json:
            self.print_json(found)
            return
        for name, sentence in found.items():
            self.stdout.write(f"{name} {item}: {sentence}")

    def _pause(self, *, reason: str, **options: Any) -> None:
        scope, key, shown = self._paused_thing(options)
        cli.check_fits(scope, key, QueuePause, "key")
        cli.check_fits("reason", reason, QueuePause, "reason")
        if not pauses.pause(scope, key, reason=reason):
            raise cli.UsageError(f"{shown} is paused already.")
        self.stdout.write(
            f"{shown} is paused: within a second nothing more is begun. "
            f"Resume: queue resume --{scope} {shown}"
        )

    def _resume(self, **options: Any) -> None:
        scope, key, shown = self._paused_thing(options)
        if not pauses.resume(scope, key):
            raise cli.UsageError(f"{shown} is not paused.")
        self.stdout.write(f"{shown} goes on within a second or two.")

    def _paused_thing(self, options: dict[str, Any]) -> tuple[str, str, str]:
        """Return the scope, its key, and the name that was given."""
        if name := options["kind"]:
            [kind] = _kinds(name)
            return pauses.KIND, kind.name, name
        if name := options["owner"]:
            return pauses.OWNER, str(find_profile(name, field="--owner").pk), name
        return pauses.HOST, options["host"].lower(), options["host"]

    def _pauses(self, *, json: bool, **options: Any) -> None:
        rows = [
            {
                "scope": one.scope,
                "name": one.name,
                "reason": one.reason,
                "by": one.paused_by or None,
                "since": one.created_at,
            }
            for one in pauses.everything()
        ]
        if json:
            self.print_json({"pauses": rows})
        else:
            self.stdout.write(reports.plain_table(rows) or "Nothing is paused.")

    def _failures(self, *, json: bool, **options: Any) -> None:
        rows = failures.by_class(all_kinds())
        if json:
            self.print_json({"failures": rows})
        else:
            self.stdout.write(reports.plain_table(rows) or "Nothing stands failed.")

    def _retry(
        self, *, error_class: str, kind: str | None, since: float, json: bool, **options: Any
    ) -> None:
        done = {
            one.name: api.retry_failed(one, error_class=error_class, seconds=since)
            for one in _kinds(kind)
        }
        if json:
            self.print_json({name: {"started": s, "of": of} for name, (s, of) in done.items()})
        for name, (started, of) in done.items():
            if not json and of:
                self.stdout.write(f"{name}: {started:,} of {of:,} started anew.")
        if not any(of for _, of in done.values()):
            raise cli.UsageError(
                f"Nothing that failed within {since:g} s stands failed for {error_class!r}. "
                "The classes that there are: queue failures"
            )

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
