"""Webhooks over real HTTP: what they speed up, and that none of them decides anything by itself."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

import pytest
from django.db import connection

from accounts import credits
from jobs.models import Job
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
    monkeypatch.setattr(submissions, "first_look", lambda expected: 1000.0)


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
    assert (credits.balance(ada), credits.unexplained()) == (998, [])


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


def test_without_an_address_or_a_secret_none_is_asked_for(fake, account, settings) -> None:
    settings.PROVIDER_WEBHOOK_SECRETS = {"simple": ""}
    first = ask()
    settings.PUBLIC_URL = ""
    work(lambda: bool(hurry()) or ended(first)())
    assert [each.webhook_url for each in fake.generations.values()] == [None]


def test_events_are_forgotten_when_they_are_too_old_to_come_again(fake, accepted) -> None:
    _, generation = accepted
    assert post(generation.webhook_url, *fake.webhook_of(generation, "running")) == 200
    assert webhooks.forget() == 0
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provider_webhooks SET received_at = now() - interval '25 hours'")
    assert (webhooks.forget(dry_run=True), webhooks.forget(), webhooks.forget()) == (1, 1, 0)


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
