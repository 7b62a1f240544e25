"""The queue's invariants hold after each step, in whatever order its statements run.

In one schedule workers, a sweeper, people and plain SQL do real operations of the queue on a small
database, in the order of a seed, with kills. `make interleave N=… SEED=…` runs any number.
"""

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from accounts.errors import LimitExceeded
from accounts.models import Profile
from crawler.errors import CrawlError
from crawler.models import CrawlJob, CrawlSource, JobChunk, Project
from crawler.services import lifecycle
from jobs.queue import api, pauses, sql
from jobs.queue.kinds import Kind
from jobs.queue.ops import check
from tests import databases
from tests.jobs import interleaving
from tests.jobs.interleaving import Actor, Operation, Scheduler
from tests.queue_guard import edits_by_hand

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]

SCHEDULES = int(os.environ.get("SCHEDULES") or 25)
SEED = int(os.environ.get("SEED") or 0)
LONG, SHARD = 2000, 250

# Broken by what people do by plain SQL until the sweeper, or another transaction, has seen it.
REPAIRED_LATER = {
    "ends-registered", "leases-swept", "due-resumed", "unregistered-rows", "chunk-ranges",
    "chunk-counters", "ended-job-closed", "open-job-open", "progress",
}  # fmt: skip

# Every change of a chunk's status or lease, with the statement and the backend that made it.
REMEMBER = """
CREATE TABLE IF NOT EXISTS transitions (
    place bigserial, id int, before text, after text, lease bigint, new_lease bigint, tag text,
    backend int);
CREATE OR REPLACE FUNCTION remember_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO transitions (id, before, after, lease, new_lease, tag, backend)
    VALUES (OLD.id, OLD.status, NEW.status, OLD.lease_id, NEW.lease_id,
            coalesce(substring(current_query() FROM 'queue:(\\w+)'), 'by hand'), pg_backend_pid());
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER remember_transition AFTER UPDATE ON job_chunks FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.lease_id IS DISTINCT FROM NEW.lease_id)
    EXECUTE FUNCTION remember_transition()
"""
FORGET = "DROP TABLE transitions; DROP FUNCTION remember_transition CASCADE"
TRANSITIONS = {
    "an item is claimed when it is pending": (
        "tag IN ('claim', 'claim_one') AND before <> 'pending'"
    ),
    "an item that has ended changes only when somebody wants it again": (
        "before IN ('completed', 'failed') AND tag NOT IN ('requeue', 'by hand')"
    ),
    "who ends an item or gives it back holds the lease under which they claimed it": (
        """tag IN ('complete', 'fail', 'wait', 'give_back') AND NOT EXISTS (
            SELECT FROM transitions AS claim WHERE claim.tag IN ('claim', 'claim_one')
            AND claim.id = t.id AND claim.new_lease = t.lease AND claim.backend = t.backend)"""
    ),
}


@pytest.fixture
def _history() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(REMEMBER)
        yield
        cursor.execute(FORGET)


@pytest.fixture
def monitor(_history: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection that sees what is committed, and who waits for whom."""
    url = databases.url_of(connection)
    with psycopg.connect(url, autocommit=True, prepare_threshold=1) as monitor:
        yield monitor


@pytest.fixture(autouse=True)
def _at_once(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases have ended and backoffs are over as soon as their transaction is."""
    settings.QUEUE_LEASE_SECONDS = 0
    settings.QUEUE_BACKOFF_SECONDS = 0
    monkeypatch.setattr(api, "fetch", interleaving.fetch)
    # Read when a second has passed: a statement more in some schedules.
    monkeypatch.setattr(pauses, "cached", lambda scope: frozenset())


class Schedule:
    """A small database and actors, all made from one seed."""

    def __init__(self, seed: int, kind: Kind, monitor: psycopg.Connection[Any]) -> None:
        self.seed = seed
        self.kind = kind
        self.monitor = monitor
        self.owners = [_owner(name) for name in ("ada", "ben")]
        self.jobs = [_job(owner, 3) for owner in (*self.owners, self.owners[0], None)]
        for owner in self.owners:
            api.admit(kind, owner.pk)
        monitor.execute("TRUNCATE transitions")
        strict = [one for one in check.invariants_of(kind) if one.name not in REPAIRED_LATER]
        self._params = {name: v for one in strict for name, v in (one.params or {}).items()}
        queries = [
            f"SELECT '{one.name}' AS name, to_jsonb(broken) AS row FROM ({one.sql}) AS broken"
            for one in strict
        ]
        queries += [
            f"SELECT '{name}', to_jsonb(t) FROM transitions AS t WHERE {condition}"
            for name, condition in TRANSITIONS.items()
        ]
        self._broken = " UNION ALL ".join(queries)

    def run(self) -> None:
        """Run the schedule, and what is left after it; raise AssertionError at a broken invariant."""
        scheduler = Scheduler(self.seed, self._actors(), self.monitor, kills=2)
        try:
            scheduler.run(self._check)
            self._finish()
        except AssertionError as error:
            steps = "\n".join(scheduler.steps[-60:])
            again = f"make interleave N=1 SEED={self.seed}"
            raise AssertionError(f"{error}\nAgain: {again}\nThe last steps:\n{steps}") from error

    def _check(self) -> None:
        broken = self.monitor.execute(self._broken, self._params).fetchall()
        assert not broken, f"broken: {broken}"

    def _actors(self) -> list[Actor]:
        plans = {
            "worker 1": (self._work, 7), "worker 2": (self._work, 7), "worker 3": (self._work, 7),
            "sweeper 1": (self._sweep, 3), "sweeper 2": (self._sweep, 2),
            "person": (self._steer, 5), "by hand": (self._write_by_hand, 4),
        }  # fmt: skip
        return [
            Actor(
                name,
                [partial(do, random.Random(f"{self.seed} {name} {n}")) for n in range(times)],
                may_deadlock=name == "by hand",
            )
            for name, (do, times) in plans.items()
        ]

    def _work(self, dice: random.Random) -> None:
        kind = self.kind
        works = api.claim(kind, limit=dice.randint(1, 3), task_id="test")
        if dice.random() < 0.3:
            api.renew(kind, works)
        if not works:
            return
        first, *others = works
        match dice.choice(["complete", "complete", "fenced", "fail", "wait", "vanish"]):
            case "complete":
                api.complete(works)
                return
            case "fenced":
                with transaction.atomic():
                    if ours := api.lock_leases(works):
                        api.complete(sorted(ours, key=lambda work: work.id))
                return
            case "fail":
                api.fail(first, error="no", permanent=dice.random() < 0.3)
            case "wait":
                api.wait(first, seconds=0, reason="for something")
            case "vanish":
                return
        api.give_back(others)

    def _sweep(self, _dice: random.Random) -> None:
        kind = self.kind
        for step in (api.register, api.resume_due, api.rescue, api.register_ends):
            step(kind)
        for state in api.next_owners(kind, after=api.NO_OWNER, limit=100):
            if state.needs_admission:
                api.admit(kind, state.owner)

    def _steer(self, dice: random.Random) -> None:
        job = dice.choice(self.jobs).pk
        chunks = list(JobChunk.objects.filter(job=job).order_by("id").values_list("pk", flat=True))
        some = dice.sample(chunks, min(2, len(chunks)))
        edits: dict[str, Operation] = {
            "pause": lambda: lifecycle.pause_job(job_id=job),
            "resume": lambda: lifecycle.resume_job(job_id=job),
            "retry": lambda: lifecycle.retry_job(job_id=job),
            "priority": lambda: lifecycle.change_priority(job_id=job, priority=dice.randint(0, 5)),
            "cancel": lambda: lifecycle.cancel_job(job_id=job),
            "hold": lambda: api.hold(self.kind, some),
            "resume chunks": lambda: api.resume(self.kind, some),
            "reprioritise": lambda: api.reprioritise(self.kind, some, priority=dice.randint(0, 10)),
            "end": lambda: api.end(self.kind, some, status="failed", error="by hand"),
            "requeue": lambda: api.requeue(self.kind, some, statuses=["failed", "completed"]),
        }
        weights = [1 if name == "cancel" else 3 for name in edits]
        (edit,) = dice.choices(list(edits.values()), weights)
        with contextlib.suppress(CrawlError, LimitExceeded):
            edit()

    def _write_by_hand(self, dice: random.Random) -> None:
        job, owner = dice.choice(self.jobs).pk, dice.choice(self.owners).pk
        statement, params = dice.choice(
            [
                (
                    "INSERT INTO job_chunks (job_id, chunk_index, image_range)"
                    " SELECT job_id, max(chunk_index) + 1,"
                    " jsonb_build_object('start', max((image_range ->> 'end')::int),"
                    " 'end', max((image_range ->> 'end')::int) + 10)"
                    " FROM job_chunks WHERE job_id = %s GROUP BY job_id"
                    " ON CONFLICT DO NOTHING",
                    [job],
                ),
                (
                    "UPDATE job_chunks SET status = 'failed', updated_at = now()"
                    " WHERE job_id = %s AND status = 'pending'",
                    [job],
                ),
                (
                    "UPDATE job_chunks SET status = 'pending', retry_count = 0"
                    " WHERE job_id = %s AND status = 'failed' AND finished_at IS NOT NULL",
                    [job],
                ),
                ("UPDATE job_chunks SET priority = 8 WHERE job_id = %s", [job]),
                (
                    "UPDATE profiles SET updated_at = now(),"
                    " user_tier = CASE user_tier WHEN 'FREE' THEN 'PRO' ELSE 'FREE' END"
                    " WHERE id = %s",
                    [owner],
                ),
            ]
        )
        with transaction.atomic(), edits_by_hand(), connection.cursor() as cursor:
            cursor.execute(statement, params)

    def _finish(self) -> None:
        """Work until nothing is left; then everything holds, at once and without an exception."""
        for job in CrawlJob.objects.filter(status="paused"):
            lifecycle.resume_job(job_id=job.pk)
        api.resume(self.kind, JobChunk.objects.filter(held=True).values_list("pk", flat=True))
        for _ in range(100):
            self._sweep(random.Random(0))
            if works := api.claim(self.kind, limit=10, task_id="the last"):
                api.complete(works)
            elif not JobChunk.objects.filter(status__in=["pending", "processing"]).exclude(
                job__status="cancelled"
            ):
                break
        left = JobChunk.objects.filter(status__in=["pending", "processing"])
        assert not list(left.exclude(job__status="cancelled").values()), "never claimed"
        Profile.objects.update(updated_at="2020-01-01T00:00Z")
        broken = [str(one) for one in check.check([self.kind]) if not one.holds]
        assert not broken, f"at the end: {broken}"


def run_schedules(seeds: range, kind: Kind, monitor: psycopg.Connection[Any]) -> None:
    for seed in seeds:
        databases.empty_tables(connection)
        Schedule(seed, kind, monitor).run()


def test_the_invariants_hold_after_each_step_of_random_schedules(kind, monitor) -> None:
    run_schedules(range(SEED, SEED + SCHEDULES), kind, monitor)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(10_000, 10_000 + LONG, SHARD))
def test_the_invariants_hold_in_two_thousand_schedules(first: int, kind, monitor) -> None:
    run_schedules(range(first, first + SHARD), kind, monitor)


@pytest.mark.parametrize(
    ("statement", "condition"),
    [
        ("WITHDRAW", "\n  AND status = 'pending' AND ready_at IS NOT NULL\nRETURNING"),
        ("COMPLETE", " AND lease_id = ANY(%(leases)s) AND status = 'processing'"),
        (
            "HOLD",
            " AND status = 'pending'\n"
            "      AND (NOT held OR available_at IS NOT NULL OR error_message = {reason})",
        ),
    ],
)
def test_a_statement_that_lost_a_condition_is_caught(
    statement: str, condition: str, kind, monitor, monkeypatch
) -> None:
    whole = getattr(sql, statement)
    mutated = whole.replace(condition, "\nRETURNING" if "RETURNING" in condition else "")
    assert mutated != whole
    monkeypatch.setattr(sql, statement, mutated)
    with pytest.raises(AssertionError, match="Again: make interleave N=1 SEED="):
        run_schedules(range(60), kind, monitor)


def test_a_seed_gives_the_same_steps_again(kind, monitor, monkeypatch) -> None:
    runs = []

    def remember(self: Scheduler, check: Callable[[], None]) -> None:
        run(self, check)
        runs.append(self.steps)

    run = Scheduler.run
    monkeypatch.setattr(Scheduler, "run", remember)
    for _ in range(2):
        run_schedules(range(7, 9), kind, monitor)
    assert runs[:2] == runs[2:]


def _owner(name: str) -> Profile:
    user = User.objects.create_user(name, f"{name}@example.org")
    Profile.objects.filter(user=user).update(updated_at="2020-01-01T00:00Z")
    return Profile.objects.get(user=user)


def _job(owner: Profile | None, chunks: int) -> CrawlJob:
    project = Project.objects.create(name="Test", owner=owner)
    job = CrawlJob.objects.create(
        project=project, name="test", max_images=10 * chunks, status="running",
        total_chunks=chunks, active_chunks=chunks,
    )  # fmt: skip
    CrawlSource.objects.create(job=job, kind="urls", location="none", status="completed")
    JobChunk.objects.bulk_create(
        JobChunk(
            job=job, owner=owner, chunk_index=n, image_range={"start": 10 * n, "end": 10 * n + 10}
        )
        for n in range(chunks)
    )
    return job
