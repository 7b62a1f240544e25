"""Who is served first, on a real broker by two real worker processes."""

import time
from statistics import median

import pytest

from crawler.models import JobChunk
from crawler.tasks import process_chunk
from jobs.queue import api
from tests.jobs.backlog import (
    SETTINGS,
    Occupancy,
    add_chunks,
    all_completed,
    claims_of,
    new_job,
    new_owner,
    record_claims,
)
from tests.queue_guard import edits_by_hand
from tests.world import World, has_redis

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine"),
]

PROCESSES = 2
ITEM_SECONDS = 0.03
PRO, FREE = 6, 2


@pytest.fixture(scope="module")
def world():
    """One installation with one worker for all tests; every test has jobs of its own."""
    with World(**SETTINGS, NOOP_SECONDS=str(ITEM_SECONDS)) as world:
        record_claims(world)
        world.start_worker(concurrency=PROCESSES)
        job = new_job(world)
        add_chunks(world, job, [5])
        world.wait_until(lambda: all_completed(world, job), seconds=30, what="the first chunk")
        yield world
        done = world.manage("queue", "check", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def wait_for(world, *jobs, seconds=30):
    world.wait_until(lambda: all_completed(world, *jobs), seconds=seconds, what="all chunks")


def furthest_out_of_turn(got, wanted):
    """How many places the item that is most out of its turn is away from it."""
    place = {item: index for index, item in enumerate(wanted)}
    assert sorted(got) == sorted(wanted)
    return max(abs(index - place[item]) for index, item in enumerate(got))


def test_among_admitted_work_the_more_urgent_comes_first_then_the_older(world):
    job = new_job(world)
    priorities = [0, 10, 5, 3, 10, 0, 7, 10, 1, 0] * 6
    ids = add_chunks(world, job, priorities, admitted=True)
    wait_for(world, job)

    claims = claims_of(world, job)
    wanted = [chunk for _, chunk in sorted(zip([-p for p in priorities], ids, strict=True))]
    # Two processes that claim at the same moment may write it down in either order.
    assert furthest_out_of_turn([claim.chunk for claim in claims], wanted) <= PROCESSES
    assert len({claim.task_id for claim in claims}) >= PROCESSES, "both processes worked"


def test_an_urgent_arrival_is_among_the_next_claims_behind_any_backlog(world):
    job = new_job(world)
    add_chunks(world, job, [0] * 100, admitted=True)
    waits = []
    for arrivals in range(1, 6):
        [(before, now)] = world.sql(
            "SELECT max(place), extract(epoch FROM clock_timestamp())::float8 FROM claims"
        )
        [chunk] = add_chunks(world, job, [10], admitted=True)
        world.wait_until(
            lambda many=arrivals: len([c for c in claims_of(world, job) if c.priority]) == many,
            seconds=10,
            what="the claim of the arrival",
        )
        [claim] = [one for one in claims_of(world, job) if one.chunk == chunk]
        # Each process may have claimed between our look and our commit, and once at that moment.
        assert claim.place - before <= 2 * PROCESSES + 1
        waits.append(claim.at - now)
    assert not all_completed(world, job), "the backlog was there all the time"
    assert median(waits) < 0.25
    wait_for(world, job)


def test_an_urgent_arrival_of_an_owner_displaces_their_less_urgent_work(world):
    owner = new_owner(world, "FREE")
    job = new_job(world, owner)
    with Occupancy(world) as seen:
        add_chunks(world, job, [1] * 120)
        world.wait_until(lambda: claims_of(world, job), seconds=10, what="the first claim")
        [urgent] = add_chunks(world, job, [10])
        wait_for(world, job)
    # By plain SQL nobody is rung for: the sweeper finds it within a second or so.
    claims = claims_of(world, job)
    [place] = [index for index, claim in enumerate(claims) if claim.chunk == urgent]
    assert place < len(claims) - 1
    assert claims[place].at - claims[0].at < 2.5
    assert max(seen.of(owner)) == FREE


def test_two_owners_share_in_proportion_to_their_windows_and_never_exceed_them(world):
    ann, bob = new_owner(world, "PRO"), new_owner(world, "FREE")
    jobs = new_job(world, ann), new_job(world, bob)
    with Occupancy(world) as seen:
        add_chunks(world, jobs[1], [5] * 60)
        add_chunks(world, jobs[0], [5] * 120)
        wait_for(world, *jobs)

    owners = [claim.owner for claim in claims_of(world, *jobs)]
    # While both have work: from when both have come in to when the first has run out.
    start = owners.index(ann)
    end = min(len(owners) - owners[::-1].index(owner) for owner in (ann, bob))
    shared = owners[start:end]
    assert len(shared) > 100
    assert shared.count(ann) / len(shared) == pytest.approx(PRO / (PRO + FREE), abs=0.04)
    # In every stretch of it too: nobody waits until the other is done.
    stretches = [shared[i : i + 40] for i in range(0, len(shared) - 40, 20)]
    assert all(20 <= stretch.count(ann) <= 38 for stretch in stretches)
    assert len(seen.samples) > 100
    assert (max(seen.of(ann)), max(seen.of(bob))) == (PRO, FREE)


def test_a_tier_changed_by_plain_sql_has_its_effect_within_seconds(world):
    owner = new_owner(world, "FREE")
    job = new_job(world, owner)
    change = "UPDATE profiles SET user_tier = %s, updated_at = now() WHERE id = %s"
    with Occupancy(world) as seen:
        add_chunks(world, job, [5] * 400)
        world.wait_until(lambda: FREE in seen.of(owner), seconds=5, what="the first window")

        world.sql(change, "PRO", owner)
        began = time.monotonic()
        world.wait_until(lambda: PRO in seen.of(owner), seconds=5, what="the larger window")
        assert time.monotonic() - began < 3

        world.sql(change, "FREE", owner)
        world.wait_until(
            lambda: max(seen.of(owner)[-20:]) <= FREE, seconds=3, what="the smaller window"
        )
        settled = time.monotonic()
        world.wait_until(
            lambda: len(seen.of(owner, since=settled)) > 50, seconds=5, what="a longer look"
        )
        assert max(seen.of(owner, since=settled)) <= FREE
        assert max(seen.of(owner)) == PRO
        world.sql(
            "UPDATE job_chunks SET status = 'failed' WHERE job_id = %s AND status = 'pending'", job
        )
    world.wait_until(
        lambda: world.sql("SELECT status FROM crawl_jobs WHERE id = %s", job) == [("completed",)],
        seconds=10,
        what="the end of the job that was cut short by hand",
    )


def test_chunks_inserted_by_plain_sql_are_found_within_about_a_second(world):
    waits = []
    for _ in range(4):
        job = new_job(world)
        add_chunks(world, job, [5])
        [(now,)] = world.sql("SELECT extract(epoch FROM clock_timestamp())::float8")
        wait_for(world, job)
        waits.append(claims_of(world, job)[0].at - now)
    assert median(waits) < 1.5
    assert max(waits) < 2.5


DELAY = """
from crawler.models import JobChunk
from crawler.tasks import process_chunk
process_chunk.delay(0)  # connects, so that the one that counts is quick
chunk = JobChunk.objects.create(job_id={job}, chunk_index=0, image_range={{"start": 0, "end": 10}})
print(chunk.pk, process_chunk.delay(chunk.pk).id)
"""


def test_one_named_chunk_is_processed_through_a_worker(world):
    def named_chunk_was_claimed_by_its_task():
        job = new_job(world)
        chunk, task_id = world.python(DELAY.format(job=job)).communicate(timeout=30)[0].split()
        wait_for(world, job)
        return [(c.chunk, c.task_id) for c in claims_of(world, job)] == [(int(chunk), task_id)]

    # The sweeper, which looks every second, may find the row before the task does.
    assert any(named_chunk_was_claimed_by_its_task() for _ in range(4))


def test_one_named_chunk_is_processed_eagerly_and_nobody_elses(
    db, kind, monkeypatch, make_job, make_chunks
):
    monkeypatch.setattr("crawler.services.chunks.kind_named", lambda name: kind)
    monkeypatch.setattr(kind, "record_left", lambda cursor, left: None)
    free, foreign, finished, paused = make_chunks(make_job(), 4)
    api.register(kind)
    api.claim_one(kind, item_id=foreign, task_id="somebody else")
    with edits_by_hand():
        JobChunk.objects.filter(pk=finished).update(status="completed")
    with edits_by_hand():
        JobChunk.objects.filter(pk=paused).update(held=True, ready_at=None)

    def process(chunk):
        return process_chunk.apply(args=[chunk]).get()

    assert process(free) is True
    assert [process(chunk) for chunk in (free, foreign, finished, paused, 0)] == [False] * 5
    assert kind.performed == [free]
    assert JobChunk.objects.get(pk=foreign).task_id == "somebody else"


START = """
from crawler.models import JobChunk
from crawler.services.planning import plan_job
from crawler.tasks import process_chunk
print(plan_job(job_id={job}))
for chunk in JobChunk.objects.filter(job_id={job}):
    process_chunk.delay(chunk.pk)
"""


def test_a_job_that_is_started_twice_is_planned_and_dispatched_once(world):
    job = new_job(world, status="pending", max_images=480)  # chunks of 50
    starters = [world.python(START.format(job=job)) for _ in range(2)]
    planned = [int(starter.communicate(timeout=30)[0]) for starter in starters]
    wait_for(world, job)

    assert sorted(planned) == [0, 10]
    chunks = [claim.chunk for claim in claims_of(world, job)]
    assert len(chunks) == len(set(chunks)) == 10
    world.wait_until(
        lambda: world.sql("SELECT status FROM crawl_jobs WHERE id = %s", job) == [("completed",)],
        seconds=5,
        what="the end of the job",
    )
