"""Webhooks over real HTTP: what they speed up, and that none of them decides anything by itself."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

import pytest
from django.db import connection
from django.utils import timezone

from accounts import credits
from jobs import services
from jobs.models import Job
from jobs.queue.kinds import kind_named
from jobs.queue.ops.check import check
from jobs.webhooks import MAX_BODY_BYTES
from providers import submissions, webhooks
from providers.models import ProviderSubmission, ProviderWebhook
from tests.jobs.generation.conftest import ask, ended, finish, hurry, work
from tests.providers.adapters.fake import DROPPED_AFTER, Behaviour, Generation, slow
from tests.providers.adapters.simple_adapter import SimpleAdapter
from tests.providers.adapters.simple_fake import SimpleFake, signature

pytestmark = pytest.mark.django_db(transaction=True)

Post = Callable[..., int]


@pytest.fixture(autouse=True)
def _reachable(fake, live_server, settings, monkeypatch) -> None:
    """The provider can reach us, and no poll is due within the test."""
    settings.PUBLIC_URL = live_server.url
    settings.PROVIDER_WEBHOOK_SECRETS = {"simple": ["an-older-one", fake.webhook_secret]}
    monkeypatch.setattr(submissions, "first_poll_delay", lambda expected: 1000.0)


@pytest.fixture
def accepted(fake, account) -> tuple[Job, Generation]:
    """A job that the provider works on for as long as the test lets it."""
    fake.duration = None
    job = ask()
    work(lambda: ProviderSubmission.objects.filter(status="accepted").exists())
    (generation,) = fake.generations.values()
    return job, generation


def post(url: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST") -> int:
    request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as refused:
        return refused.code


def everything() -> list[tuple]:
    """All that a webhook could change."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_jsonb(job), to_jsonb(submission) - 'polls' FROM provider_submissions submission "
            "JOIN jobs job ON job.id = submission.job_id ORDER BY submission.id"
        )
        return [*cursor.fetchall(), *ProviderWebhook.objects.values_list("event_id")]


def test_a_webhook_makes_the_poll_due_that_ends_the_job(fake, accepted) -> None:
    job, generation = accepted
    fake.finish(generation.id)
    assert fake.webhook_statuses == [200]
    assert finish(job).status == "completed"
    assert fake.requests["check"] >= 1


def test_webhooks_that_come_twice_or_in_the_wrong_order_change_nothing(fake, accepted) -> None:
    job, generation = accepted
    fake.webhook_plan = ("ended", "ended", "running", "ended")
    fake.finish(generation.id)
    assert finish(job).status == "completed"
    assert fake.webhook_statuses == [200] * 4
    assert ProviderWebhook.objects.count() == 2

    before = everything()
    for event in ("ended", "running"):
        assert post(generation.webhook_url, *fake.webhook_of(generation, event)) == 200
    fresh = _signed(fake, generation, event="a-new-one")
    assert post(generation.webhook_url, *fresh) == 200
    assert everything()[:1] == before[:1]


def test_what_is_forged_old_or_not_for_us_is_refused_and_changes_nothing(
    fake, accepted, live_server
) -> None:
    _, generation = accepted
    url = generation.webhook_url
    right, headers = fake.webhook_of(generation, "ended")
    other = Generation(**{**vars(generation), "id": "simple-999"})
    hour_ago = int(time.time()) - 3600
    before = everything()

    refused = [
        (400, url, right, {}),
        (400, url, right, {**headers, "X-Signature": "0" * 64}),
        (400, url, right.replace(b'"id"', b'"Id"'), headers),
        (400, url, *_signed(fake, generation, secret="somebody-else")),
        (400, url, *_signed(fake, generation, sent=hour_ago)),
        (400, url, *_signed(fake, generation, sent=hour_ago + 7200)),
        (400, url, *_signed(fake, generation, event="x" * 201)),
        (400, url, *_signed(fake, other)),
        (400, url, b"", {}),
        (413, url, b" " * (MAX_BODY_BYTES + 1), headers),
        (404, f"{live_server.url}/webhooks/simple/pxs-0", right, headers),
        (404, f"{live_server.url}/webhooks/nobody/{generation.reference}", right, headers),
        (400, f"{live_server.url}/webhooks/replicate/{generation.reference}", right, headers),
        (400, f"{live_server.url}/webhooks/local/{generation.reference}", right, headers),
    ]  # fmt: skip
    for status, *request in refused:
        assert post(*request) == status, request
    assert post(url, right, headers, method="PUT") == 405
    assert everything() == before

    assert post(url, right, headers) == 200
    assert everything() != before


def test_a_webhook_may_overtake_the_answer_to_the_call(fake, account, ada) -> None:
    fake.script("submit", slow(0.7))
    job = finish(ask(ada))
    assert (job.status, fake.webhook_statuses) == ("completed", [200])
    submission = ProviderSubmission.objects.get()
    assert (submission.status, submission.polls >= 1) == ("succeeded", True)
    assert fake.accepted_by_reference == {submission.reference: 1}
    assert (credits.balance(ada), credits.check().rows) == (998, [])


@pytest.mark.parametrize(
    "answer",
    [Behaviour(delay=0.7, drop=True), Behaviour(delay=0.7, answer=(503, "try later", {}))],
    ids=["the answer is lost", "the answer is a refusal"],
)
def test_what_a_webhook_has_proved_is_not_doubted_or_sent_again(
    fake, account, ada, monkeypatch, answer
) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    fake.duration = 1.5
    fake.webhook_plan = ("running", "ended")
    fake.script("submit", answer)
    job = finish(ask(ada))
    assert (job.status, fake.webhook_statuses) == ("completed", [200, 200])
    assert len(fake.generations) == ProviderSubmission.objects.count() == 1
    assert credits.balance(ada) == 998


def test_a_webhook_resolves_what_nobody_can_look_up(fake, account, ada, monkeypatch) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    fake.duration = None
    fake.script("submit", DROPPED_AFTER)
    job = ask(ada)
    work(lambda: ProviderSubmission.objects.filter(status="unknown").exists())
    fake.finish("simple-1")
    job = finish(job)
    assert (job.status, credits.balance(ada)) == ("completed", 998)
    assert ProviderSubmission.objects.get().provider_job_id == "simple-1"


class TestLateResults:
    """What was given up and is done there after all."""

    @pytest.fixture(autouse=True)
    def _it_cannot_be_stopped_there(self, fake, account, monkeypatch) -> None:
        monkeypatch.setattr(SimpleAdapter, "can_cancel", False)
        fake.duration = None

    @pytest.fixture
    def timed_out(self, fake, ada) -> Job:
        job = ask(ada)
        work(lambda: ProviderSubmission.objects.filter(status="accepted").exists())
        ProviderSubmission.objects.update(deadline_at=timezone.now(), next_poll_at=timezone.now())
        job = finish(job)
        assert (job.status, job.error_class, credits.balance(ada)) == ("failed", "timeout", 1000)
        return job

    def test_complete_the_job_and_are_paid_for(self, fake, ada, timed_out) -> None:
        fake.webhook_plan = ("ended", "ended")
        fake.finish("simple-1")
        assert Job.objects.get(pk=timed_out.pk).status == "failed"  # until its files are here
        job = _completed(timed_out)
        assert (job.error_message, job.error_class, job.cost) == (None, None, 2)
        assert (job.asset.user, fake.requests["submit"]) == (ada.user, 1)
        assert ProviderSubmission.objects.get().status == "succeeded"
        assert (credits.balance(ada), credits.check().rows) == (998, [])
        assert _broken() == []

    def test_are_paid_for_as_far_as_credits_go(self, fake, ada, timed_out) -> None:
        credits.hold(profile=ada, amount=999, description="spent", reference="spent")
        fake.finish("simple-1")
        assert _completed(timed_out).cost == 1
        assert (credits.balance(ada), credits.check().rows) == (0, [])
        credits.release(reference="spent")

    def test_change_nothing_when_the_job_was_started_anew(self, fake, ada, timed_out) -> None:
        services.retry_job(job=timed_out)
        work(lambda: ProviderSubmission.objects.filter(status="accepted").exists())
        fake.finish("simple-1")
        assert fake.webhook_statuses == [200]
        assert list(ProviderSubmission.objects.order_by("id").values_list("status", flat=True)) == [
            "timed_out",
            "accepted",
        ]
        fake.finish("simple-2")
        finish(timed_out)
        assert (Job.objects.get().status, credits.balance(ada)) == ("completed", 998)

    def test_change_nothing_when_the_job_is_started_anew_before_the_files_are_here(
        self, fake, ada, timed_out
    ) -> None:
        fake.finish("simple-1")
        services.retry_job(job=timed_out)
        work(lambda: "simple-2" in fake.generations)
        late = ProviderSubmission.objects.filter(status="succeeded", next_poll_at__isnull=False)
        work(lambda: not late.exists())
        assert Job.objects.get().status == "processing"
        fake.finish("simple-2")
        job = finish(timed_out)
        assert (job.status, credits.balance(ada)) == ("completed", 998)
        assert _broken() == []

    def test_leave_the_job_failed_when_their_file_is_none(self, fake, ada, timed_out) -> None:
        fake.file = (b"", "image/png")
        fake.finish("simple-1")
        work(lambda: fake.requests["file"] > 0)
        work(lambda: not ProviderSubmission.objects.filter(next_poll_at__isnull=False).exists())
        job = Job.objects.get()
        assert (job.status, job.error_class, credits.balance(ada)) == ("failed", "timeout", 1000)

    def test_resolve_a_charge(self, fake, ada, monkeypatch) -> None:
        monkeypatch.setattr(SimpleAdapter, "can_find", False)
        fake.script("submit", DROPPED_AFTER)
        job = ask(ada)
        work(lambda: ProviderSubmission.objects.filter(status="unknown").exists())
        ProviderSubmission.objects.update(deadline_at=timezone.now(), next_poll_at=timezone.now())
        assert finish(job).error_class == "undecided"
        fake.finish("simple-1")
        job = _completed(job)
        assert (job.error_class, job.cost, credits.balance(ada)) == (None, 2, 998)
        assert (credits.check().rows, _broken()) == ([], [])


def test_without_an_address_or_a_secret_none_is_asked_for(fake, account, settings) -> None:
    settings.PROVIDER_WEBHOOK_SECRETS = {"simple": ""}
    first = ask()
    settings.PUBLIC_URL = ""
    work(lambda: bool(hurry()) or ended(first)())
    assert [each.webhook_url for each in fake.generations.values()] == [None]


def test_events_are_forgotten_when_they_are_too_old_to_come_again(fake, accepted) -> None:
    _, generation = accepted
    assert post(generation.webhook_url, *fake.webhook_of(generation, "running")) == 200
    assert webhooks.delete_old_events() == 0
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provider_webhooks SET received_at = now() - interval '25 hours'")
    assert webhooks.delete_old_events(dry_run=True) == 1
    assert [webhooks.delete_old_events() for _ in range(2)] == [1, 0]


def _completed(job: Job) -> Job:
    work(lambda: Job.objects.filter(pk=job.pk, status="completed").exists())
    return Job.objects.get(pk=job.pk)


def _broken() -> list[object]:
    return [one for one in check([kind_named("generation")]) if not one.holds]


def _signed(
    fake: SimpleFake,
    generation: Generation,
    *,
    event: str = "event-1",
    sent: int | None = None,
    secret: str | None = None,
) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"id": generation.id, "status": "running", "files": []}).encode()
    when = str(int(time.time()) if sent is None else sent)
    signed = signature(secret or fake.webhook_secret, event, when, body)
    return body, {"X-Event": event, "X-Sent": when, "X-Signature": signed}


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("e1", "[" * 100_000),
        ("e2", '{"id": ["x"]}'),
        ("e3", '{"id": "%s", "status": "running"}' % ("x" * 300)),
        ("e4", r'{"id": "a\u0000b", "status": "running"}'),
        ("e" * 300, '{"id": "x", "status": "running"}'),
    ],
)
def test_a_signed_webhook_that_cannot_be_read_is_refused(fake, accepted, event, body) -> None:
    before, sent = everything(), str(int(time.time()))
    (generation,) = fake.generations.values()
    headers = {
        "X-Event": event,
        "X-Sent": sent,
        "X-Signature": signature(fake.webhook_secret, event, sent, body.encode()),
    }
    assert post(generation.webhook_url, body.encode(), headers) == 400
    assert everything() == before
