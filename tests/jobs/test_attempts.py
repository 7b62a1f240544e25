"""Each attempt at an item leaves a row and a log line, written with its end."""

import json
import logging
import subprocess
import sys
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from crawler.models import JobChunk
from jobs.models import KEEP_DAYS, KEEP_PER_ITEM, WorkAttempt, Worker
from jobs.queue import api, kinds
from jobs.queue.errors import TryAgain, Unrecoverable
from jobs.queue.kinds import Completed, GiveBack, Options, Wait, all_kinds
from jobs.queue.ops import maintenance, workers
from jobs.queue.worker import identity, registry, shared_state
from jobs.queue.worker.loop import run_worker_loop
from pixsim.logs import JsonFormatter
from tests.queue_guard import edits_by_hand
from tests.world import PROJECT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lines(caplog):
    """The log lines of attempts so far."""
    caplog.set_level(logging.INFO, logger="jobs.attempts")
    return lambda: [one for one in caplog.records if one.name == "jobs.attempts"]


@pytest.fixture
def work(kind, make_job, make_chunks):
    """Makes a chunk, and works on it once with an action."""
    job = make_job()

    def work(action, count=1):
        ids = make_chunks(job, count)
        kind.action = action
        api.register(kind)
        perform("task-1")
        return ids

    return work


def perform(task_id="t"):
    run_worker_loop(task_id=task_id, slice_seconds=0.2)


def again(item):
    """Let the item run now, whatever backoff it has."""
    with edits_by_hand():
        JobChunk.objects.filter(pk=item).update(available_at=timezone.now())


def attempts_of(item):
    return list(WorkAttempt.objects.filter(kind="chunk", item_id=item).order_by("number"))


def raising(error):
    def action(work):
        raise error

    return action


def test_a_completed_attempt_says_who_did_what_and_when(work, lines):
    def action(work):
        work.count(stored=3, bytes=500)
        work.count(stored=4)
        return Completed()

    before = timezone.now() - timedelta(seconds=5)
    [item] = work(action)
    [attempt] = attempts_of(item)
    assert (attempt.number, attempt.outcome, attempt.task_id) == (1, "completed", "task-1")
    assert attempt.worker == identity.process_name() == JobChunk.objects.get(pk=item).worker
    assert attempt.details == {"stored": 7, "bytes": 500}
    assert (attempt.error_class, attempt.error_message) == (None, None)
    assert before < attempt.started_at < attempt.ended_at
    [line] = lines()
    assert line.levelno == logging.INFO
    assert f"chunk {item} of job " in line.getMessage()
    assert "attempt 1 completed after 0." in line.getMessage()
    assert "(stored 7, bytes 500) by " in line.getMessage()


def test_the_items_of_one_claim_each_have_their_own(work):
    items = work(lambda work: work.count(stored=work.id) or Completed(), count=5)
    found = WorkAttempt.objects.values_list("item_id", "details__stored").order_by("item_id")
    assert list(found) == [(item, item) for item in items]


@pytest.mark.parametrize(
    ("error", "outcome", "error_class", "level"),
    [
        (ValueError("odd"), "retry", "ValueError", logging.WARNING),
        (TryAgain("busy"), "retry", "TryAgain", logging.WARNING),
        (Unrecoverable("gone"), "failed", "Unrecoverable", logging.ERROR),
    ],
)
def test_a_failed_attempt_is_logged_once_with_its_class(
    work, lines, error, outcome, error_class, level
):
    [item] = work(raising(error))
    [attempt] = attempts_of(item)
    assert (attempt.outcome, attempt.error_class) == (outcome, error_class)
    assert str(error) in attempt.error_message
    [line] = lines()
    assert (line.levelno, bool(line.exc_info)) == (level, error_class == "ValueError")
    assert str(error) in line.getMessage()


def test_the_class_is_that_of_the_cause(work):
    def action(work):
        try:
            raise ConnectionResetError("by peer")
        except ConnectionResetError as error:
            raise TryAgain("The host hung up.") from error

    [item] = work(action)
    assert attempts_of(item)[0].error_class == "ConnectionResetError"


def test_attempts_are_numbered_through_retries_and_a_new_start(work, kind):
    [item] = work(raising(ValueError("no")))
    again(item)
    api.resume_due(kind)
    kind.action = raising(Unrecoverable("never"))
    perform()
    api.requeue(kind, [item], statuses=["failed"])
    api.register(kind)
    kind.action = lambda work: Completed()
    perform()
    assert [(one.number, one.outcome) for one in attempts_of(item)] == [
        (1, "retry"),
        (2, "failed"),
        (3, "completed"),
    ]


def test_a_lost_attempt_names_the_worker_that_was_lost(kind, make_job, make_chunks, lines):
    [item] = make_chunks(make_job(), 1)
    api.register(kind)
    api.claim(kind, limit=1, task_id="killed")
    with edits_by_hand():
        JobChunk.objects.update(worker="celery@elsewhere:7", lease_expires_at=F("created_at"))
    api.rescue(kind)
    [attempt] = attempts_of(item)
    assert (attempt.outcome, attempt.error_class) == ("lost", "WorkerLost")
    assert (attempt.worker, attempt.task_id) == ("celery@elsewhere:7", "killed")
    [line] = lines()
    assert line.levelno == logging.WARNING
    assert "attempt 1 lost after" in line.getMessage()


def test_what_was_begun_and_given_back_is_an_attempt_what_waits_or_never_began_is_none(
    work, kind, lines
):
    [stopped] = work(lambda work: GiveBack())
    assert [(a.number, a.outcome) for a in attempts_of(stopped)][:1] == [(1, "given_back")]
    WorkAttempt.objects.all().delete()
    before = len(lines())
    kind.action = lambda work: Wait(60, "for something")
    perform()
    assert (attempts_of(stopped), len(lines())) == ([], before)
    api.resume(kind, [stopped])
    works = api.claim(kind, limit=1, task_id="t")
    assert api.give_back(works) == 1
    assert (attempts_of(stopped), len(lines())) == ([], before)


@pytest.mark.parametrize(("take", "after"), [("end", []), ("requeue", [(2, "completed")])])
def test_an_attempt_that_a_person_cuts_off_is_recorded_once(work, kind, take, after):
    def action(held):
        if held.attempt == 1 and take == "end":
            api.end(kind, [held.id], status="failed", error="By hand.")
        elif held.attempt == 1:
            api.requeue(kind, [held.id], statuses=["processing"])
        return Completed()

    [item] = work(action)
    found = attempts_of(item)
    assert [(one.number, one.outcome) for one in found] == [(1, "taken"), *after]
    assert found[0].worker == identity.process_name()


def test_what_waits_is_taken_without_an_attempt(kind, make_job, make_chunks):
    items = make_chunks(make_job(), 2)
    api.register(kind)
    api.end(kind, items[:1], status="failed")
    with edits_by_hand():
        JobChunk.objects.filter(pk=items[1]).update(status="failed", finished_at=timezone.now())
    api.requeue(kind, items, statuses=["failed"])
    assert not WorkAttempt.objects.exists()


def test_a_worker_that_lost_its_lease_records_nothing(work, kind):
    def action(held):
        with edits_by_hand():
            JobChunk.objects.filter(pk=held.id).update(lease_id=F("lease_id") + 1000)
        return Completed()

    [item] = work(action)
    assert attempts_of(item) == []


def test_items_from_before_the_numbers_cannot_stop_the_sweeper(kind, make_job, make_chunks):
    items = make_chunks(make_job(), 2)
    for _ in range(2):  # as code would that does not count
        api.register(kind)
        api.claim(kind, limit=2, task_id="t")
        with edits_by_hand():
            JobChunk.objects.update(attempt_count=0, lease_expires_at=F("created_at"))
        assert api.rescue(kind) == set(items)
        api.resume(kind, items)


def test_a_kind_can_switch_the_record_off(work, kind, lines, monkeypatch):
    monkeypatch.setattr(type(kind), "records_attempts", False)
    kinds._render.cache_clear()
    [item] = work(lambda work: Completed())
    assert JobChunk.objects.get(pk=item).status == "completed"
    assert (attempts_of(item), len(lines())) == ([], 1)


def test_maintenance_keeps_the_last_of_an_item_and_a_month(work):
    [item] = work(lambda work: Completed())
    now = timezone.now()
    copies = [
        WorkAttempt(
            kind="chunk",
            item_id=item_id,
            number=number,
            outcome="retry",
            started_at=at,
            ended_at=at,
        )
        for item_id, number, at in (
            *((item, n, now) for n in range(2, KEEP_PER_ITEM + 5)),
            (item + 1, 1, now - timedelta(days=KEEP_DAYS, hours=1)),
            (item + 1, 2, now - timedelta(days=KEEP_DAYS, hours=-1)),
        )
    ]
    WorkAttempt.objects.bulk_create(copies)
    chore = next(c for c in maintenance.chores([]) if c.name == "old attempts")
    assert chore.run(Options(dry_run=True), lambda count: None).count == 5
    assert chore.run(Options(), lambda count: None).count == 5
    kept = WorkAttempt.objects.filter(item_id=item).order_by("number")
    assert [one.number for one in kept] == list(range(5, KEEP_PER_ITEM + 5))
    assert [one.number for one in WorkAttempt.objects.filter(item_id=item + 1)] == [2]
    assert chore.run(Options(), lambda count: None).count == 0


def test_a_line_of_json_has_the_ids_and_no_secret(work, lines):
    [item] = work(raising(ValueError("postgres://ada:hush@db/x")))
    [line] = lines()
    found = json.loads(JsonFormatter().format(line))
    names = ("kind", "item", "attempt", "outcome", "error_class", "task", "worker")
    assert [found[name] for name in names] == [
        "chunk", item, 1, "retry", "ValueError", "task-1", identity.process_name(),
    ]  # fmt: skip
    assert found["parent"] == JobChunk.objects.get(pk=item).job_id
    assert "hush" not in json.dumps(found)
    assert "ValueError" in found["traceback"]


def test_the_format_of_a_workers_lines_can_be_chosen():
    say = "import logging; logging.getLogger('x').warning('password=hush')"
    for words, form in (([], "plain"), (["--log-format", "json"], "json")):
        run = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "pixsim", *("report", *words)],
            cwd=PROJECT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "software ->" in run.stdout, form
    run = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {say}"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_FORMAT": "json"},
    )  # fmt: skip
    assert json.loads(run.stderr)["message"] == "password=***"


def test_the_chunks_page_shows_its_attempts_and_links_to_all(work, client):
    client.force_login(User.objects.create_superuser("root"))
    [item] = work(raising(ValueError("odd <b>bytes</b>")))
    page = client.get(reverse("admin:crawler_jobchunk_change", args=[item])).content.decode()
    assert "failed, tried again" in page
    assert "odd &lt;b&gt;bytes" in page
    assert f"/admin/crawler/image/?chunk__id__exact={item}" in page
    assert f"/admin/crawler/candidate/?chunk__id__exact={item}" in page
    everything = f"/admin/jobs/workattempt/?kind=chunk&amp;item_id={item}"
    assert everything in page
    for address in (
        everything.replace("&amp;", "&"),
        f"/admin/crawler/image/?chunk__id__exact={item}",
    ):
        assert client.get(address).status_code == 200
    found = client.get(everything.replace("&amp;", "&")).content.decode()
    assert f"chunk {item}</a>" in found
    assert f"/admin/crawler/jobchunk/{item}/change/" in found


def test_the_table_is_read_by_its_indexes(work):
    work(lambda work: Completed(), count=3)
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT * FROM work_attempts WHERE kind = 'chunk' AND item_id = 1 ORDER BY number"
        )
        assert "uq_work_attempts_item_number" in str(cursor.fetchall())
        cursor.execute("RESET enable_seqscan")


def test_the_page_of_workers_shows_what_each_does_and_drains_one(work, client):
    client.force_login(User.objects.create_superuser("root"))
    page = reverse("admin:jobs_worker_changelist")
    fresh, killed = (
        Worker.objects.create(name=name, host="h", pid=7, processes=2, version="1")
        for name in ("celery@fresh", "celery@killed")
    )
    Worker.objects.filter(pk=killed.pk).update(last_seen_at=timezone.now() - timedelta(hours=1))
    with edits_by_hand():
        [item] = work(lambda work: Completed())
        JobChunk.objects.update(
            status="processing",
            worker="celery@fresh:8",
            lease_expires_at=timezone.now() + timedelta(minutes=1),
            attempt_count=3,
        )
    shown = client.get(page).content.decode()
    assert f"/admin/crawler/jobchunk/{item}/change/" in shown
    assert "attempt 3" in shown
    assert "celery@fresh" in shown
    assert "celery@killed" not in shown
    done = client.post(page, {"action": "drain", "_selected_action": [fresh.pk]}, follow=True)
    [message] = done.context["messages"]
    assert "celery@fresh drains" in str(message)
    fresh.refresh_from_db()
    assert fresh.is_draining


def test_a_worker_that_was_started_anew_under_the_same_name_and_number_does_not_drain():
    registry.say_alive(is_new=True)
    long_ago = timezone.now() - timedelta(days=1)
    Worker.objects.update(is_draining=True, started_at=long_ago)
    registry.say_alive()
    assert shared_state.is_draining()
    assert Worker.objects.get().started_at == long_ago
    registry.say_alive(is_new=True)
    assert not shared_state.is_draining()
    assert Worker.objects.get().started_at > long_ago


def test_the_sweeper_of_the_first_worker_that_is_alive_is_the_active_one():
    first = Worker.objects.create(name="celery@first", host="first", pid=1, processes=1, version="")
    assert not registry.say_alive(is_new=True)
    Worker.objects.filter(pk=first.pk).update(last_seen_at=timezone.now() - timedelta(seconds=6))
    assert registry.say_alive()
    Worker.objects.filter(pk=first.pk).update(last_seen_at=timezone.now())
    assert not registry.say_alive()


def test_a_workers_name_that_somebody_wrote_by_hand_is_shown_as_it_is(work):
    work(lambda work: Completed())
    with edits_by_hand():
        JobChunk.objects.update(
            status="processing", worker="somebody:me", lease_expires_at=timezone.now()
        )
    [held] = workers.in_hand(all_kinds())["somebody"]
    assert held.pid is None
