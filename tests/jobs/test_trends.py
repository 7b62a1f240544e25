"""What attempts come to by the hour, day and week: counted exactly, whatever comes between."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from jobs.models import WorkAttempt, WorkRollup
from jobs.queue.kinds import Options, all_kinds, kind_named
from jobs.queue.ops import maintenance, trends
from jobs.queue.ops.status import Backlog, Count, snapshot
from jobs.queue.ops.trends import HOURS_AT_ONCE, TIME_BOUNDS, Period, fold_old, roll_up, trend

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def now():
    """The time of the transaction: what `now()` is to the statements."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        return cursor.fetchone()[0]


def this_hour():
    return now().replace(minute=0, second=0, microsecond=0)


def attempt(ended, seconds=1.0, outcome="completed", kind="chunk"):
    return WorkAttempt.objects.create(
        kind=kind,
        item_id=WorkAttempt.objects.count() + 1,
        number=1,
        outcome=outcome,
        started_at=ended - timedelta(seconds=seconds),
        ended_at=ended,
    )


def count_all():
    rounds = 1
    while roll_up():
        rounds += 1
    return rounds


def hours(kind="chunk"):
    """The counted hours with what was completed in them."""
    rows = WorkRollup.objects.filter(kind=kind).order_by("hour")
    return [(row.hour, row.completed) for row in rows]


def test_nothing_is_counted_where_nothing_ended():
    assert roll_up() is False
    assert not WorkRollup.objects.exists()
    assert {period.finished for period in trend("chunk", "day")} == {0}


def test_attempts_are_counted_by_kind_hour_outcome_and_time():
    hour = this_hour()
    for outcome in ("completed", "failed", "retry", "lost", "given_back"):
        attempt(hour, 7.0, outcome)
    attempt(hour - HOUR, 0.005)
    attempt(hour, 4000.0, kind="discovery")

    count_all()

    row = WorkRollup.objects.get(kind="chunk", hour=hour)
    assert (row.completed, row.failed, row.retries, row.lost, row.given_back) == (1, 1, 1, 1, 1)
    assert (row.seconds, row.seconds_max) == (14.0, 7.0), "of the completed and the failed"
    assert {TIME_BOUNDS[place]: n for place, n in enumerate(row.times) if n} == {10.0: 2}
    assert hours() == [(hour - HOUR, 1), (hour, 1)]
    assert WorkRollup.objects.get(kind="discovery").times == [0] * len(TIME_BOUNDS) + [1]


def test_counting_again_changes_nothing_and_what_came_meanwhile_is_added():
    hour = this_hour()
    attempt(hour)
    count_all()
    count_all()
    attempt(hour)
    count_all()
    assert hours() == [(hour, 2)]


def test_an_attempt_that_is_committed_late_is_counted():
    hour = this_hour()
    attempt(hour)
    count_all()
    # As it was a while ago: the hour was not over when it was counted.
    WorkRollup.objects.update(hour=hour - HOUR, counted_until=hour - timedelta(minutes=1))
    WorkAttempt.objects.update(ended_at=hour - timedelta(minutes=30))
    attempt(hour - timedelta(seconds=1))
    count_all()
    assert hours() == [(hour - HOUR, 2)]


def test_after_a_long_pause_all_hours_are_made_up_for_a_few_at_a_time():
    hour = this_hour()
    ago = [0, 1, 2, 3, 30, 31, 32, 200, 201, 700]
    for each in ago:
        attempt(hour - each * HOUR)

    assert count_all() > len(ago) / HOURS_AT_ONCE
    assert hours() == [(hour - each * HOUR, 1) for each in reversed(ago)]


def test_an_hour_whose_attempts_were_removed_keeps_its_count():
    hour = this_hour()
    attempt(hour)
    attempt(hour)
    count_all()
    WorkAttempt.objects.first().delete()
    count_all()
    assert hours() == [(hour, 2)]


def test_maintenance_counts_before_it_removes_attempts():
    old = this_hour() - timedelta(days=40)
    attempt(old)
    chores = {chore.name: chore for chore in maintenance.chores(all_kinds())}
    for name in ("trends", "old attempts"):
        chores[name].run(Options(), lambda count: None)
    assert not WorkAttempt.objects.exists()
    assert hours() == [(old, 1)]


def row(hour, completed, kind="chunk"):
    return WorkRollup.objects.create(
        kind=kind,
        hour=hour,
        counted_until=hour + HOUR,
        completed=completed,
        failed=1,
        retries=2,
        lost=0,
        given_back=0,
        seconds=10.0,
        seconds_max=float(completed),
        times=[completed + 1] + [0] * len(TIME_BOUNDS),
    )


def test_what_is_too_old_is_summed_so_totals_never_decrease():
    hour = this_hour()
    for days in (0, 800, 801):
        row(hour - timedelta(days=days), 5)
    row(hour - timedelta(days=900), 7, kind="discovery")
    before = trends.totals()

    assert fold_old() == 3
    assert trends.totals().keys() == before.keys()
    for kind, period in trends.totals().items():
        assert period.as_dict() | {"start": 0} == before[kind].as_dict() | {"start": 0}
        assert (period.times, period.seconds) == (before[kind].times, before[kind].seconds)

    row(hour - timedelta(days=731), 3)
    assert fold_old() == 1
    assert trends.totals()["chunk"].completed == 18
    assert [completed for _hour, completed in hours()] == [13, 5]
    assert fold_old() == 0


def test_days_and_weeks_are_sums_of_hours():
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    week = trends._start(now(), "week") - timedelta(weeks=1)
    assert trends._start(monday + timedelta(days=6, hours=23), "week") == monday
    for place in range(7 * 24):
        row(week + place * HOUR, place)

    [last] = [period for period in trend("chunk", "week") if period.start == week]
    days = {period.start: period for period in trend("chunk", "day")}

    assert last.completed == sum(range(7 * 24))
    assert (last.failed, last.retries, last.seconds_max) == (7 * 24, 14 * 24, 7 * 24 - 1)
    assert days[week].completed == sum(range(24))
    assert sum(days[week + place * timedelta(days=1)].completed for place in range(7)) == (
        last.completed
    )
    assert [len(trend("chunk", unit)) for unit in trends.UNITS] == [48, 30, 26]


@given(st.lists(st.floats(0.0, 5000.0), min_size=1, max_size=60), st.sampled_from([0.5, 0.95]))
def test_a_quantile_lies_in_the_bound_of_the_true_one(seconds, share):
    places = [sum(bound <= one for bound in TIME_BOUNDS) for one in seconds]
    times = [places.count(place) for place in range(len(TIME_BOUNDS) + 1)]
    found = Period(now(), times=times, seconds_max=max(seconds)).quantile(share)
    true = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    edges = [0.0, *TIME_BOUNDS, math.inf]
    place = sum(bound <= true for bound in TIME_BOUNDS)
    assert edges[place] <= found <= min(edges[place + 1], max(seconds))


def test_the_rate_is_that_of_the_time_since_the_first_of_the_last_day():
    hour = this_hour()
    assert trends.finished_per_hour("chunk") is None
    row(hour - 30 * HOUR, 1000)
    row(hour - 9 * HOUR, 49)
    passed = 9 + (now() - hour) / HOUR
    assert trends.finished_per_hour("chunk") == pytest.approx(50 / passed, rel=0.01)


def test_the_time_to_empty_the_backlog_is_told(make_job, make_chunks, capsys):
    assert Backlog(Count(120), per_hour=60.0).seconds == 7200
    assert Backlog(Count(120), per_hour=None).seconds is None
    assert Backlog(Count(0), per_hour=None).seconds == 0

    make_chunks(make_job(), 3)
    make_chunks(make_job(), 2, held=True)
    row(this_hour() - 9 * HOUR, 49)
    backlog = snapshot(kind_named("chunk")).backlog

    assert backlog.items == Count(3), "what is held is not for workers"
    assert backlog.seconds == pytest.approx(3600 * 3 / backlog.per_hour)
    call_command("queue", "status", "--kind", "chunk")
    assert "time to empty the backlog" in capsys.readouterr().out
    call_command("queue", "status", "--json", "--kind", "chunk")
    told = json.loads(capsys.readouterr().out)["kinds"]["chunk"]["backlog"]
    assert told["seconds"] == pytest.approx(backlog.seconds, rel=0.01)


def test_trends_are_shown_and_are_json(capsys):
    row(this_hour(), 3)
    call_command("queue", "trends", "--kind", "chunk", "--by", "hour")
    shown = capsys.readouterr().out.splitlines()
    [line] = [line for line in shown if f"{this_hour():%Y-%m-%d %H:%M}" in line]
    assert "25.0 %" in line

    call_command("queue", "trends", "--json")
    told = json.loads(capsys.readouterr().out)
    last = told["kinds"]["chunk"][-1]
    assert told["by"] == "day"
    assert (last["finished"], last["failed_percent"], last["retries"]) == (4, 25.0, 2)
