"""Figures that many look at are computed by one process for all, and by the next if that one dies."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from jobs.models import SharedFigures
from jobs.queue.ops import shared


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_once_one_computes():
    computed, wait = [], threading.Event()

    def compute():
        computed.append(1)
        wait.wait(20)
        return {"figure": len(computed)}

    def ask(_number):
        try:
            return shared.shared("a page", compute, seconds=60).value
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as people:
        asked = [people.submit(ask, number) for number in range(6)]
        while not computed:
            time.sleep(0.01)
        wait.set()
        assert [one.result() for one in asked] == [{"figure": 1}] * 6
    assert len(computed) == 1


@pytest.mark.django_db
def test_old_figures_are_computed_anew_and_shown_while_others_do():
    assert shared.shared("a page", lambda: 1, seconds=60).value == 1
    assert shared.shared("a page", lambda: 2, seconds=60).value == 1
    ago = timezone.now() - timedelta(seconds=20)
    SharedFigures.objects.update(taken_at=ago, valid_until=ago, claimed_until=None)
    assert shared.shared("a page", lambda: 2, seconds=0).value == 2
    soon = timezone.now() + timedelta(seconds=20)
    SharedFigures.objects.update(taken_at=ago, valid_until=ago, claimed_until=soon)
    assert shared.shared("a page", lambda: 3, seconds=0).value == 2, "another process computes them"
    SharedFigures.objects.update(claimed_until=ago)
    assert shared.shared("a page", lambda: 4, seconds=0).value == 4, "that process has died"


@pytest.mark.django_db
def test_a_computation_that_fails_is_not_waited_for():
    with pytest.raises(ZeroDivisionError):
        shared.shared("a page", lambda: 1 / 0, seconds=60)
    assert shared.shared("a page", lambda: 5, seconds=60).value == 5


@pytest.mark.django_db
def test_what_is_expensive_is_kept_for_longer():
    def compute():
        time.sleep(0.05)
        return 1

    shared.shared("a page", compute, seconds=0)
    row = SharedFigures.objects.get()
    assert row.valid_until - row.taken_at >= timedelta(seconds=0.5)
