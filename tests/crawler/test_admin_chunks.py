"""Chunks in the admin: edits by hand that count, and a list that stays quick."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import ActivityLog, Profile
from crawler.errors import WrongState
from crawler.models import CrawlJob, CrawlSource, JobChunk, Project
from crawler.services import chunks, lifecycle
from jobs.queue import api
from jobs.queue.kinds import all_kinds, kind_named
from jobs.queue.ops.check import check
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper
from pixsim.core.admin.paging import COUNT_CAP
from tests.admin_forms import sent
from tests.queue_guard import edits_by_hand

LIST = reverse("admin:crawler_jobchunk_changelist")


@pytest.fixture
def make_owner():
    def make(name="ada", tier="FREE"):
        user = User.objects.create_user(name, f"{name}@example.org")
        Profile.objects.filter(user=user).update(user_tier=tier)
        return Profile.objects.get(user=user)

    return make


@pytest.fixture
def make_job():
    """A running job with chunks in the queue, of an owner or of the system; its source is read."""

    def make(chunks=4, owner=None):
        project = Project.objects.create(name="p", owner=owner)
        job = CrawlJob.objects.create(
            project=project, name="j", max_images=chunks * 10, status="running"
        )
        CrawlSource.objects.create(job=job, kind="folder", location="/", status="completed")
        JobChunk.objects.bulk_create(
            JobChunk(job=job, chunk_index=i, image_range={"start": i * 10, "end": i * 10 + 10})
            for i in range(chunks)
        )
        sweep()
        return job

    return make


def sweep():
    Sweeper(FallbackWorkers(0)).sweep()


def claim(limit=1):
    return api.claim(kind_named("chunk"), limit=limit, task_id="a-task")


def act(client, action, *chunks, **values):
    data = {"action": action, "_selected_action": [c.pk for c in chunks], "index": "0", **values}
    return client.post(LIST, data, follow=True).content.decode()


def url_of(chunk):
    return reverse("admin:crawler_jobchunk_change", args=[chunk.pk])


def edit(client, chunk, **values):
    response = client.post(url_of(chunk), sent(client.get(url_of(chunk)), **values))
    assert response.status_code == 302, response.context["adminform"].form.errors
    chunk.refresh_from_db()
    return chunk


def assert_the_queue_is_sound():
    broken = [finding for finding in check(all_kinds()) if not finding.holds]
    assert not broken


pytestmark = pytest.mark.django_db(transaction=True)

# Actions


def test_a_stuck_chunk_is_requeued_and_its_worker_writes_nothing(admin_client, make_job):
    job = make_job()
    [work] = claim()
    chunk = JobChunk.objects.get(pk=work.id)
    with edits_by_hand():
        JobChunk.objects.filter(pk=work.id).update(
            lease_expires_at=timezone.now() - timedelta(minutes=5)
        )

    page = admin_client.get(LIST, {"state": "stuck"}).content.decode()
    assert f"#{chunk.pk}" in page
    assert "over for 5 min" in page
    assert "1 job chunk is back in the queue" in act(admin_client, "requeue", chunk)

    chunk.refresh_from_db()
    assert (chunk.status, chunk.lease_id, chunk.ready_at) == ("pending", None, chunk.created_at)
    assert api.complete([work]) == set()
    assert ActivityLog.objects.get(action="job_chunks.requeued").metadata["changed"] == 1
    job.refresh_from_db()
    assert job.active_chunks == 4
    assert_the_queue_is_sound()


def test_a_failed_chunk_is_retried_and_its_ended_job_runs_again(admin_client, make_job):
    job = make_job(chunks=1)
    [work] = claim()
    api.fail(work, error="broken", permanent=True)
    job.refresh_from_db()
    assert job.status == "failed"
    chunk = job.chunks.get()

    assert "1 job chunk is to be tried again" in act(admin_client, "retry", chunk)

    job.refresh_from_db()
    assert (job.status, job.failed_chunks, job.active_chunks) == ("running", 0, 1)
    [again] = claim()
    assert again.id == chunk.pk
    assert_the_queue_is_sound()


def test_what_an_action_does_not_fit_is_left_as_it_is(admin_client, make_job):
    make_job()
    pending = JobChunk.objects.order_by("id").first()

    page = act(admin_client, "retry", pending)

    assert "1 job chunk is as before" in page
    assert not ActivityLog.objects.filter(action="job_chunks.retried").exists()


def test_a_held_chunk_frees_its_place_and_returns_when_it_is_requeued(
    admin_client, make_job, make_owner
):
    make_job(owner=make_owner())
    first, second, third, _fourth = JobChunk.objects.order_by("id")

    act(admin_client, "hold", first)

    assert ready() == [second.chunk_index, third.chunk_index]
    act(admin_client, "requeue", first)
    first.refresh_from_db()
    assert (first.held, first.owner.email) == (False, "ada@example.org")
    assert len(ready()) == 2
    assert_the_queue_is_sound()


def ready():
    chunks = JobChunk.objects.filter(status="pending", ready_at__isnull=False)
    return list(chunks.order_by("chunk_index").values_list("chunk_index", flat=True))


def test_a_chunk_of_a_paused_job_stays_held_when_it_is_requeued(admin_client, make_job):
    job = make_job(chunks=1)
    CrawlJob.objects.update(status="paused")
    chunk = job.chunks.get()
    act(admin_client, "hold", chunk)

    act(admin_client, "requeue", chunk)

    chunk.refresh_from_db()
    assert (chunk.held, chunk.ready_at) == (True, None)


def test_a_raised_priority_takes_a_place_in_the_window_at_once(
    admin_client, make_job, make_owner, settings
):
    settings.TIERS = {"FREE": {"highest_priority": 10}}
    make_job(owner=make_owner())
    last = JobChunk.objects.order_by("id").last()

    assert "now with priority 10" in act(admin_client, "change_priority", last, priority="10")

    assert ready() == [0, 3]
    [work] = claim()
    assert work.id == last.pk
    assert_the_queue_is_sound()


def test_selecting_everything_asks_first(admin_client, make_job):
    make_job()
    chunk = JobChunk.objects.first()

    page = act(admin_client, "hold", chunk, select_across="1")

    assert f"{JobChunk.objects.count()} job chunks" in page
    assert not JobChunk.objects.filter(held=True).exists()


# The form


def test_a_chunk_that_is_added_by_hand_is_counted_and_can_be_claimed_at_once(
    admin_client, make_job, make_owner
):
    job = make_job(chunks=1, owner=make_owner())
    [work] = claim()
    api.complete([work])

    response = admin_client.post(
        reverse("admin:crawler_jobchunk_add"),
        {
            "job": job.pk,
            "image_range": '{"start": 10, "end": 15}',
            "priority": "",
            "chunk_index": "",
        },
    )

    assert response.status_code == 302, response.context["adminform"].form.errors
    chunk = JobChunk.objects.get(chunk_index=1)
    assert (chunk.owner.email, chunk.priority) == ("ada@example.org", job.priority)
    job.refresh_from_db()
    assert (job.status, job.total_chunks, job.active_chunks) == ("running", 2, 1)
    assert [work.id for work in claim(limit=5)] == [chunk.pk]
    assert_the_queue_is_sound()


@pytest.mark.parametrize(
    "image_range",
    ["", "[]", '{"start": 5, "end": 5}', '{"start": -1, "end": 5}', '{"start": 0}', "{"],
)
def test_a_range_that_cannot_be_is_refused(admin_client, make_job, image_range):
    job = make_job(chunks=1)

    response = admin_client.post(
        reverse("admin:crawler_jobchunk_add"),
        {"job": job.pk, "image_range": image_range, "priority": "5", "chunk_index": "7"},
    )

    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == ["image_range"]


def test_a_second_chunk_of_the_same_index_is_refused(admin_client, make_job):
    job = make_job(chunks=1)

    response = admin_client.post(
        reverse("admin:crawler_jobchunk_add"),
        {"job": job.pk, "image_range": '{"start": 0, "end": 5}', "chunk_index": "0"},
    )

    assert "already exists" in str(response.context["adminform"].form.errors)


def test_an_edited_priority_counts_at_once(admin_client, make_job, make_owner, settings):
    settings.TIERS = {"FREE": {"highest_priority": 10}}
    make_job(owner=make_owner())
    last = JobChunk.objects.order_by("id").last()

    edit(admin_client, last, priority="9")

    assert ready() == [0, 3]
    assert_the_queue_is_sound()


def test_a_chunk_given_to_another_owner_counts_in_their_window(admin_client, make_job, make_owner):
    make_job(owner=make_owner())
    bea = make_owner("bea")
    first = JobChunk.objects.order_by("id").first()

    edit(admin_client, first, owner=str(bea.pk))

    assert ready() == [0, 1, 2], "two of the first owner and one of the second"
    edit(admin_client, first, owner="")
    assert first.ready_at == first.created_at, "the system has no window"


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_chunk_ended_by_hand_is_counted_and_its_worker_loses_it(admin_client, make_job, status):
    job = make_job(chunks=1)
    [work] = claim()

    chunk = edit(admin_client, job.chunks.get(), status=status)

    assert (chunk.status, chunk.ready_at, chunk.lease_id) == (status, None, None)
    assert api.complete([work]) == set()
    job.refresh_from_db()
    assert (job.status, job.active_chunks) == (status, 0)
    edit(admin_client, chunk, status="pending")
    job.refresh_from_db()
    assert (job.status, job.active_chunks, job.completed_chunks, job.failed_chunks) == (
        "running", 1, 0, 0,
    )  # fmt: skip
    assert len(claim()) == 1
    assert_the_queue_is_sound()


def test_saving_an_old_form_does_not_take_the_chunk_from_its_worker(admin_client, make_job):
    job = make_job(chunks=1)
    before = job.chunks.get()
    page = admin_client.get(url_of(before))
    [work] = claim()

    refused = admin_client.post(url_of(before), sent(page, priority="8"))

    assert "Status: was “pending”, is “processing” now, stays so." in refused.content.decode()
    assert job.chunks.get().priority == 5
    again = sent(refused)
    assert (again["status"], again["priority"]) == ("processing", "8")
    assert admin_client.post(url_of(before), again).status_code == 302
    after = job.chunks.get()
    assert (after.status, after.lease_id, after.priority) == ("processing", work.lease, 8)
    assert api.complete([work]) == {before.pk}


def test_a_chunk_in_flight_keeps_the_new_priority_of_its_job_when_it_comes_back(make_job):
    job = make_job(chunks=1)
    [work] = claim()

    lifecycle.change_priority(job_id=job.pk, priority=9)
    api.give_back([work])

    assert job.chunks.get().priority == 9


def test_a_chunk_that_is_retried_has_the_priority_of_its_job_now(make_job):
    job = make_job(chunks=2)
    first, _second = claim(2)
    api.fail(first, error="broken", permanent=True)
    lifecycle.change_priority(job_id=job.pk, priority=9)

    lifecycle.retry_job(job_id=job.pk)

    assert set(job.chunks.values_list("priority", flat=True)) == {9}


def test_a_priority_above_the_tier_of_a_chunks_owner_is_refused(admin_client, make_job, make_owner):
    make_job(owner=make_owner())
    chunk = JobChunk.objects.first()

    assert "tier FREE allows 5" in act(admin_client, "change_priority", chunk, priority="6")
    page = admin_client.get(url_of(chunk))
    refused = admin_client.post(url_of(chunk), sent(page, priority="6"))

    assert "tier FREE allows 5" in refused.context["adminform"].form.errors["priority"][0]
    assert set(JobChunk.objects.values_list("priority", flat=True)) == {5}


def test_a_chunk_more_urgent_than_the_tier_of_its_new_owner_is_not_given_to_them(
    admin_client, make_job, make_owner
):
    chunk = make_job(chunks=1).chunks.get()
    chunks.change_priority([chunk.pk], priority=9)
    page = admin_client.get(url_of(chunk))

    refused = admin_client.post(url_of(chunk), sent(page, owner=str(make_owner().pk)))

    assert "tier FREE allows 5" in refused.content.decode()
    assert job_owner(chunk) is None


def job_owner(chunk):
    return JobChunk.objects.get(pk=chunk.pk).owner


def test_the_priority_of_a_chunk_that_has_ended_does_not_change(admin_client, make_job):
    chunk = make_job(chunks=1).chunks.get()
    [work] = claim()
    api.complete([work])
    page = admin_client.get(url_of(chunk))

    assert "1 job chunk is as before" in act(admin_client, "change_priority", chunk, priority="9")
    refused = admin_client.post(url_of(chunk), sent(page, priority="9"))

    assert "its priority cannot change" in refused.content.decode()
    assert JobChunk.objects.get().priority == 5


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"images_per_job": 49}, "images_per_job: tier FREE allows 49"),
        ({"concurrent_jobs": 0}, "concurrent_jobs: tier FREE allows 0"),
    ],
)
def test_a_chunk_that_makes_a_job_larger_than_its_owners_tier_allows_is_refused(
    admin_client, make_job, make_owner, settings, limits, message
):
    job = make_job(chunks=1, owner=make_owner())
    [work] = claim()
    api.complete([work])
    settings.TIERS = {"FREE": limits}
    data = {"job": job.pk, "image_range": '{"start": 10, "end": 50}', "priority": ""}

    refused = admin_client.post(reverse("admin:crawler_jobchunk_add"), {**data, "chunk_index": ""})

    assert message in refused.content.decode()
    assert job.chunks.count() == 1


def test_a_chunk_that_is_added_to_a_paused_job_waits_until_it_is_resumed(make_job):
    job = make_job(chunks=1)
    lifecycle.pause_job(job_id=job.pk)

    chunks.add_chunk(job_id=job.pk, start=10, end=20)

    assert set(job.chunks.values_list("held", flat=True)) == {True}
    lifecycle.cancel_job(job_id=job.pk)
    with pytest.raises(WrongState, match="cancelled: no chunk can be added"):
        chunks.add_chunk(job_id=job.pk, start=20, end=30)
    assert_the_queue_is_sound()


def test_nobody_makes_a_chunk_processing_by_hand(admin_client, make_job):
    chunk = make_job(chunks=1).chunks.get()

    page = admin_client.get(url_of(chunk))
    response = admin_client.post(url_of(chunk), sent(page, status="processing"))

    assert "status" in response.context["adminform"].form.errors


def test_a_tier_changed_in_the_admin_changes_the_window_within_a_sweep(
    admin_client, make_job, make_owner
):
    owner = make_owner()
    make_job(chunks=10, owner=owner)
    assert len(ready()) == 2

    admin_client.post(
        reverse("admin:accounts_profile_changelist"),
        {"action": "change_tier_to_pro", "_selected_action": [owner.pk], "index": "0"},
    )
    sweep()

    assert len(ready()) == 6
    page = admin_client.get(reverse("admin:accounts_profile_changelist")).content.decode()
    assert "6 of 6" in page


# Finding


def test_a_chunk_is_found_by_its_task_and_by_its_job(admin_client, make_job):
    first, second = make_job(chunks=1), make_job(chunks=1)
    [work] = claim()
    held, other = (first, second) if work.id == first.chunks.get().pk else (second, first)

    def found(query):
        return [c.pk for c in admin_client.get(LIST, {"q": query}).context["cl"].result_list]

    assert found("a-task") == [work.id]
    assert found(f" {other.pk} ") == [other.chunks.get().pk]
    assert found("9" * 30) == []
    assert found("a-tas") == []
    assert held.chunks.get().pk not in found(str(other.pk))


# Two hundred thousand rows stand for two million: what matters is that nothing grows with them.


@pytest.fixture
def many_chunks(make_job):
    job = make_job(chunks=1)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO job_chunks (job_id, chunk_index, image_range, status, priority, task_id)
            SELECT %s, n, '{"start": 0, "end": 1}',
                   CASE WHEN n %% 100 = 0 THEN 'failed' ELSE 'completed' END, n %% 11, 'task-' || n
            FROM generate_series(1, 200000) AS n
            """,
            [job.pk],
        )
        cursor.execute("ANALYZE job_chunks")
    return job


def test_no_page_of_the_list_reads_the_whole_table(admin_client, many_chunks):
    pages = {
        "the first": {},
        "a filter": {"status__exact": "failed"},
        "a rare state": {"state": "ready"},
        "what is stuck": {"state": "stuck"},
        "a priority": {"priority": "3"},
        "a task": {"q": "task-777"},
        "a job": {"q": str(many_chunks.pk)},
        "deep": {"p": f"after:{JobChunk.objects.order_by('id').first().pk + 50_000}"},
        "back": {"p": f"before:{JobChunk.objects.order_by('id').first().pk + 50_000}"},
        "the end": {"p": "oldest"},
    }
    for name, params in pages.items():
        with CaptureQueriesContext(connection) as queries:
            response = admin_client.get(LIST, params)
            assert response.status_code == 200
        statements = [q["sql"] for q in queries if '"job_chunks"' in q["sql"]]
        assert len(statements) <= 3, name
        assert len(queries) <= 13, name
        for sql in statements:
            assert "DISTINCT" not in sql
            assert "OFFSET" not in sql
            for node in plan_nodes(sql):
                assert node["Node Type"] != "Seq Scan" or node["Relation Name"] != "job_chunks", (
                    name,
                    sql,
                )


def test_the_page_of_a_job_of_very_many_chunks_has_a_bar_of_them(admin_client, many_chunks):
    url = reverse("admin:crawler_crawljob_change", args=[many_chunks.pk])

    page = admin_client.get(url).content.decode()

    assert "px-strip" not in page
    assert "1 unfinished" in page


def plan_nodes(sql):
    """All nodes of the statement's plan."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql)
        plan = cursor.fetchone()[0]
        plan = json.loads(plan) if isinstance(plan, str) else plan
    nodes = [plan[0]["Plan"]]
    for node in nodes:
        nodes.extend(node.get("Plans", []))
    return nodes


def test_the_list_says_about_how_many_there_are(admin_client, many_chunks):
    page = admin_client.get(LIST).content.decode()
    assert re.search(r"about 20\d,\d{3} job chunks", page)

    page = admin_client.get(LIST, {"status__exact": "completed"}).content.decode()
    assert f"more than {COUNT_CAP:,} job chunks" in page

    page = admin_client.get(LIST, {"status__exact": "failed"}).content.decode()
    assert "2,000 job chunks" in page


def test_the_links_lead_through_every_row_once_and_back(admin_client, make_job):
    make_job(chunks=250)
    keys = sorted(JobChunk.objects.values_list("pk", flat=True), reverse=True)

    def walk(start, link):
        seen, place = [], start
        while place is not None:
            changes = admin_client.get(LIST + place).context["cl"]
            seen.append([chunk.pk for chunk in changes.result_list])
            place = getattr(changes, link)
        return seen

    assert walk("", "older") == [keys[:100], keys[100:200], keys[200:]]
    assert walk("?p=oldest", "newer") == [keys[150:], keys[50:150], keys[:50]]
    for nonsense in ("?p=3", "?p=after:x", "?p=before:", "?p=after:" + "9" * 40, "?p=%00"):
        assert admin_client.get(LIST + nonsense).status_code == 200
