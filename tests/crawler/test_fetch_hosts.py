"""What a host in trouble is spared, by the clock; and which limits a host has."""

from types import SimpleNamespace

import pytest

from crawler.fetch.hosts import OWN_CONCURRENCY, Host, HostLimits
from crawler.fetch.tasks import Trouble

DEAD = Trouble("host_down", "refused")


def host(*, most: int = 4, gap: float = 0.0) -> Host:
    return Host("example.org", most=most, gap=gap, is_known=True)


def waiting(count: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(number=number) for number in range(count)]


def test_a_rest_halves_the_concurrency_once_and_successes_give_it_back_slowly():
    spared = host()
    for _ in range(4):  # Four requests under way, four times the same news.
        spared.throttled(0.0, 30, "HTTP 429")
    assert (spared.allowed, spared.failures) == (2.0, 1)
    assert spared.cooldown(10.0) == 20.0
    spared.throttled(31.0, 30, "HTTP 429")
    spared.throttled(62.0, 30, "HTTP 429")
    assert spared.allowed == 1.0
    for _ in range(19):
        spared.succeeded()
    assert int(spared.allowed) == 1
    for _ in range(100):
        spared.succeeded()
    assert spared.allowed == 4.0


def test_without_retry_after_each_rest_is_twice_the_last_up_to_ten_minutes():
    spared, now, cooldowns = host(), 0.0, []
    for _ in range(9):
        cooldowns.append(spared.throttled(now, None, "HTTP 503"))
        now += cooldowns[-1] + 1
    assert cooldowns == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_a_retry_after_of_a_day_is_an_hour():
    assert host().throttled(0.0, 86_400, "HTTP 429") == 3600


def test_single_failures_change_nothing_and_three_in_a_row_are_a_cool_down():
    spared = host()
    for _ in range(5):
        spared.failed(0.0, DEAD)
        spared.failed(0.0, DEAD)
        spared.succeeded()
    assert spared.wait(0.0) == 0.0
    for _ in range(3):
        spared.failed(0.0, DEAD)
    assert (spared.cooldown(0.0), spared.is_silent) == (5.0, True)


def test_a_silent_host_is_asked_with_one_request_at_least_every_minute_until_it_answers():
    silent, now = host(), 0.0
    for _ in range(20):
        silent.failed(now, DEAD)
        now += silent.cooldown(now)
        assert silent.cooldown(now) == 0.0
    silent.failed(now, DEAD)
    assert silent.cooldown(now) == 60.0
    assert silent.has_slot
    silent.start(now + 60)
    assert not silent.has_slot
    silent.succeeded()
    assert silent.has_slot
    assert silent.cooldown(now) == 0.0


def test_an_answer_during_a_rest_that_the_server_asked_for_does_not_end_it():
    spared = host()
    spared.throttled(0.0, 30, "HTTP 429")
    spared.succeeded()
    assert spared.cooldown(10.0) == 20.0


def test_only_items_beyond_the_patience_are_taken_out():
    cooling = host()
    cooling.waiting.extend(waiting(5))
    cooling.throttled(0.0, 2, "HTTP 429")
    assert [*cooling.pop_late_items(0.0)] == []
    cooling.throttled(0.0, 60, "HTTP 429")
    assert [(item.number, seconds) for item, seconds in cooling.pop_late_items(0.0)] == [
        (number, 60.0) for number in (4, 3, 2, 1, 0)
    ]
    paced = host(gap=10.0)
    paced.waiting.extend(waiting(5))
    paced.start(0.0)
    assert [(item.number, seconds) for item, seconds in paced.pop_late_items(0.0)] == [
        (4, 50.0),
        (3, 40.0),
        (2, 30.0),
    ]
    assert len(paced.waiting) == 2


def test_a_robots_delay_only_ever_slows_down():
    paced = host(gap=0.1)
    paced.start(0.0)
    paced.slow_down(0.01)
    assert paced.gap == 0.1
    paced.slow_down(5.0)
    assert (paced.gap, paced.wait(0.0)) == (5.0, 5.0)


@pytest.mark.parametrize(
    ("name", "most", "gap"),
    [
        ("example.org", 4, 0.1),
        ("upload.wikimedia.org", 2, 0.1),
        ("slow.org", 4, 2.0),
        ("93.184.216.34", 4, 0.1),
        ("10.1.2.3", OWN_CONCURRENCY, 0.0),
        ("10.1.2.3:8080", OWN_CONCURRENCY, 0.0),
        ("10.9.9.9", 1, 0.0),
        ("127.0.0.1", 4, 0.1),
        ("localhost", 4, 0.1),
        ("upload.wikimedia.org:80", 2, 0.1),
        ("fd00::1", OWN_CONCURRENCY, 0.0),
        ("[fd00::1]:80", OWN_CONCURRENCY, 0.0),
    ],
)
def test_limits_come_by_name_then_for_the_operators_own_then_for_all(settings, name, most, gap):
    settings.CRAWL_HOST_CONCURRENCY, settings.CRAWL_HOST_RATE = 4, 10.0
    settings.CRAWL_ALLOWED_PRIVATE = ["10.0.0.0/8", "fd00::/8"]
    settings.CRAWL_HOST_LIMITS = {
        "upload.wikimedia.org": {"concurrency": 2},
        "slow.org": {"rate": 0.5},
        "10.9.9.9": {"concurrency": 1},
    }
    made = HostLimits.from_settings().host(name)
    assert (made.most, made.gap) == (most, gap)
