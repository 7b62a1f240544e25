"""The life of a generation over real HTTP, from asking to the asset, and each way in which it ends."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.utils import timezone
from psycopg import sql

from accounts import credits
from accounts.errors import InsufficientCredits
from jobs import services
from jobs.errors import GenerationRefused, WrongState
from jobs.generation import allocation, calling, result_handling
from jobs.generation.wait_reason import reason
from jobs.models import Asset, Job, Workspace
from jobs.queue.kinds import kind_named
from jobs.queue.ops.check import check
from pixsim.core import blobs
from providers.adapters import adapter_named
from providers.models import ProviderAccount, ProviderSubmission
from tests.jobs.generation.conftest import ask, database_url, ended, finish, hurry, work
from tests.providers.adapters.fake import (
    BROKEN_AFTER,
    DOWN,
    DROPPED_AFTER,
    DROPPED_BEFORE,
    HTML,
    Behaviour,
    Ending,
    refuses,
)
from tests.providers.adapters.simple_adapter import SimpleAdapter
from tests.providers.adapters.simple_fake import error
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _all_is_in_order():
    """After each test: no invariant is broken, no balance unexplained."""
    yield
    broken = [one for one in check([kind_named("generation")]) if not one.holds]
    assert broken == []
    assert credits.check().rows == []


@contextmanager
def unrecordable(status: str) -> Iterator[None]:
    """The database refuses this status of submissions, as it refuses any value out of its bounds."""
    table = "ALTER TABLE provider_submissions"
    with connection.cursor() as cursor:
        cursor.execute(f"{table} ADD CONSTRAINT refuses CHECK (status <> '{status}') NOT VALID")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"{table} DROP CONSTRAINT refuses")


def submissions(job: Job) -> list[ProviderSubmission]:
    return list(ProviderSubmission.objects.filter(job=job).order_by("retry_attempt"))


def test_a_job_becomes_an_asset_of_its_owner(fake, account, ada) -> None:
    job = ask(ada, name="panda")
    assert (job.estimate, credits.balance(ada)) == (2, 998)

    job = finish(job)

    assert (job.status, job.cost, job.error_message) == ("completed", 2, None)
    asset = job.asset
    assert (asset.user, asset.mime_type, asset.width, asset.source_job) == (
        ada.user, "image/png", 64, job,
    )  # fmt: skip
    assert blobs.exists(asset.local_path)
    assert blobs.exists(asset.thumbnail_url)
    (submission,) = submissions(job)
    assert (submission.status, submission.account) == ("succeeded", account)
    assert "2 free slots" in submission.choice
    assert submission.duration_ms >= 0
    assert fake.accepted_by_reference == {submission.reference: 1}
    assert credits.balance(ada) == 998


def test_an_answer_with_the_result_in_it_needs_no_poll(fake, account) -> None:
    fake.at_once = True
    job = finish(ask())
    assert job.status == "completed"
    assert fake.requests["submit"] == 1


@pytest.mark.parametrize(
    ("behaviour", "attempts", "status", "account_status"),
    [
        (refuses(401, error("auth")), 2, "completed", "error"),
        (refuses(402, error("no_credit")), 2, "completed", "exhausted"),
        (refuses(429, error("slow_down"), {"Retry-After": "7"}), 2, "completed", "rate_limited"),
        (refuses(429, error("too_many")), 2, "completed", "active"),
        (refuses(503, error("internal")), 2, "completed", "active"),
        (DROPPED_AFTER, 1, "completed", "active"),
        (BROKEN_AFTER, 1, "completed", "active"),
        (HTML, 1, "completed", "active"),
        (DROPPED_BEFORE, 2, "completed", "active"),
        (refuses(400, error("filtered")), 1, "failed", "active"),
        (refuses(422, error("invalid")), 1, "failed", "active"),
    ],
    ids=[
        "auth", "quota", "rate limit", "concurrent limit", "unavailable", "dropped after the work",
        "500 that did the work", "html", "dropped before the work", "filtered", "invalid",
    ],
)  # fmt: skip
def test_the_class_of_an_error_decides(
    fake, make_account, ada, behaviour, attempts, status, account_status
) -> None:
    first = make_account("1", priority=9)
    make_account("2")
    fake.script("submit", behaviour)
    job = ask(ada)
    work(lambda: fake.requests["submit"] > 0)
    work(lambda: bool(hurry()) or ended(job)())

    job.refresh_from_db()
    assert (job.status, len(submissions(job))) == (status, attempts)
    assert max(fake.accepted_by_reference.values(), default=0) <= 1
    assert len(fake.generations) == (status == "completed")
    first.refresh_from_db()
    assert first.status == account_status
    assert credits.balance(ada) == (998 if status == "completed" else 1000)
    assert job.retry_count in (0, 3)
    assert submissions(job)[0].previous_submission is None


def test_what_may_have_been_charged_is_not_sent_again_and_somebody_decides(
    fake, account, ada, monkeypatch
) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    fake.script("submit", DROPPED_AFTER)
    job = ask(ada)
    work(lambda: ProviderSubmission.objects.filter(status="unknown").exists())
    # The provider may be at work on it: the slot is not given to another.
    assert ProviderSubmission.objects.get().deadline_at > timezone.now() + timedelta(seconds=20)
    ProviderSubmission.objects.update(deadline_at=timezone.now(), next_poll_at=timezone.now())

    job = finish(job)

    assert (job.status, job.error_class) == ("failed", "undecided")
    assert "may have charged" in job.error_message
    assert len(fake.generations) == 1
    assert credits.balance(ada) == 998
    with pytest.raises(WrongState, match="Resolve that first"):
        services.retry_job(job=job)
    services.resolve_charge(job=job, charge=False)
    assert credits.balance(ada) == 1000
    with pytest.raises(WrongState, match="is resolved already"):
        services.resolve_charge(job=job, charge=True)
    services.retry_job(job=Job.objects.get(pk=job.pk))
    assert finish(job).status == "completed"


def test_a_generation_that_fails_there_gives_its_credits_back(fake, account, ada) -> None:
    fake.endings.append(Ending("failed", "filtered", "Not that."))
    job = finish(ask(ada))
    assert (job.status, job.error_class) == ("failed", "filtered")
    assert submissions(job)[0].status == "filtered"
    assert credits.balance(ada) == 1000


def test_a_file_that_is_not_there_yet_is_fetched_again_however_long_it_took(fake, account) -> None:
    fake.duration = None
    fake.script("file", refuses(503, {}))
    job = ask()
    work(lambda: ProviderSubmission.objects.filter(status="accepted").exists())
    ProviderSubmission.objects.update(polls=100)
    fake.finish("simple-1")
    work(lambda: bool(hurry()) or ended(job)())
    assert Job.objects.get().status == "completed"


def test_a_file_on_a_private_address_or_without_bytes_ends_the_job(fake, account, settings) -> None:
    fake.file = (b"", "image/png")
    job = finish(ask())
    assert (job.status, job.asset) == ("failed", None)
    assert "is empty" in job.error_message
    settings.CRAWL_ALLOWED_PRIVATE = []
    fake.file = None
    job = ask(prompt="another")
    work(lambda: bool(hurry()) or ended(job)(), seconds=30)
    job.refresh_from_db()
    assert job.status == "failed"
    assert "cannot be fetched" in job.error_message


def test_an_answer_for_another_job_is_not_believed(fake, account) -> None:
    fake.script("check", Behaviour(change=lambda view: {**view, "id": "simple-999"}))
    job = ask()
    work(lambda: bool(hurry()) or ended(job)())
    assert Job.objects.get(pk=job.pk).status == "completed"
    assert fake.requests["check"] > 1


def test_a_generation_that_takes_too_long_is_looked_at_once_more_and_ends(
    fake, account, ada
) -> None:
    fake.duration = None
    job = ask(ada)
    work(lambda: ProviderSubmission.objects.filter(status="accepted").exists())
    ProviderSubmission.objects.update(deadline_at=timezone.now(), next_poll_at=timezone.now())
    job = finish(job)
    assert (job.status, job.error_class) == ("failed", "timeout")
    # Asked to stop there, it did: what the provider says is what is written.
    assert fake.requests["cancel"] == 1
    assert credits.balance(ada) == 1000


class TestCancelling:
    def test_before_it_is_sent(self, fake, ada) -> None:
        job = ask(ada)
        services.cancel_job(job=job)
        job.refresh_from_db()
        assert (job.status, credits.balance(ada)) == ("cancelled", 1000)
        with pytest.raises(WrongState, match="is cancelled already"):
            services.cancel_job(job=job)

    def test_while_the_provider_works_on_it_frees_the_slot_when_it_has_ended_there(
        self, fake, account, ada
    ) -> None:
        fake.duration = None
        job = ask(ada)
        work(lambda: ProviderSubmission.objects.filter(status="accepted").exists())
        services.cancel_job(job=job)
        assert credits.balance(ada) == 1000
        work(lambda: not ProviderSubmission.objects.filter(status="accepted").exists())
        assert submissions(job)[0].status == "cancelled"
        assert not fake.live
        assert Job.objects.get(pk=job.pk).status == "cancelled"

    def test_while_it_is_being_sent(self, fake, account, ada) -> None:
        fake.latency = 0.5
        fake.duration = None
        job = ask(ada)

        def cancel_when_sent() -> None:
            ends = time.monotonic() + 20
            while not fake.requests["submit"] and time.monotonic() < ends:
                time.sleep(0.01)
            services.cancel_job(job=job)
            connections["default"].close()

        beside = threading.Thread(target=cancel_when_sent)  # as from another process
        beside.start()
        work(lambda: [one.status for one in submissions(job)] == ["cancelled"])
        beside.join()
        assert submissions(job)[0].status == "cancelled"
        assert (Job.objects.get(pk=job.pk).status, credits.balance(ada)) == ("cancelled", 1000)

    def test_and_then_again_from_the_stored_params(self, fake, account, ada) -> None:
        job = ask(ada)
        services.cancel_job(job=job)
        services.retry_job(job=job)
        job = finish(job)
        assert (job.status, job.run, credits.balance(ada)) == ("completed", 1, 998)


class TestAsking:
    def test_each_wrong_field_is_named_and_nothing_is_kept(self, fake, ada) -> None:
        with pytest.raises(GenerationRefused) as refused:
            services.create_job(
                owner=ada,
                provider="simple",
                operation="text_to_image",
                params={"prompt": "", "colour": "red"},
            )
        assert set(refused.value.errors) == {"params.prompt", "params.colour"}
        for wrong in (
            {"provider": "nobody"}, {"operation": "fly"}, {"model": "other"}, {"priority": 11},
        ):  # fmt: skip
            values = {
                "provider": "simple", "operation": "text_to_image", "params": {"prompt": "x"},
            }  # fmt: skip
            with pytest.raises(GenerationRefused) as refused:
                services.create_job(owner=ada, **{**values, **wrong})
            assert set(refused.value.errors) == set(wrong)
        assert not Job.objects.exists()
        assert credits.balance(ada) == 1000

    def test_a_workspace_of_somebody_else_is_refused_and_nothing_is_kept(self, fake, ada) -> None:
        theirs = Workspace.objects.create(user=services.system_user(), name="theirs")
        with pytest.raises(GenerationRefused, match="workspace: there is no workspace"):
            ask(ada, workspace=theirs)
        assert not Job.objects.exists()

    @pytest.mark.parametrize(
        "address", ["file:///etc/passwd", "http://169.254.169.254/", "http://10.0.0.1/"]
    )
    def test_an_input_that_may_not_be_fetched_is_refused_at_once(self, ada, address) -> None:
        with pytest.raises(GenerationRefused) as refused:
            services.create_job(
                owner=ada,
                provider="openai",
                operation="image_to_image",
                params={"prompt": "a fox", "images": [address]},
            )
        (field,) = refused.value.errors
        assert field == "params.images"
        with pytest.raises(GenerationRefused, match=r"params.files.image: it may not be fetched"):
            services.create_job(
                owner=ada,
                provider="replicate",
                operation="text_to_image",
                model="somebody/model",
                params={"files": {"image": [address]}},
            )
        assert not Job.objects.exists()

    def test_more_than_the_balance_is_refused(self, fake, ada) -> None:
        credits.hold(profile=ada, amount=999, description="other work", reference="x")
        with pytest.raises(InsufficientCredits, match="2 are needed and 1 are there"):
            ask(ada)
        assert not Job.objects.exists()
        credits.release(reference="x")

    def test_a_key_makes_one_job(self, fake, ada) -> None:
        first = ask(ada, idempotency_key="k")
        assert ask(ada, idempotency_key="k") == first
        assert credits.balance(ada) == 998
        with pytest.raises(GenerationRefused, match="idempotency_key: it made job"):
            ask(ada, prompt="something else", idempotency_key="k")
        with pytest.raises(GenerationRefused, match="idempotency_key: it made job"):
            ask(ada, parent=first, idempotency_key="k")

    def test_a_key_with_another_model_asks_for_something_else(self) -> None:
        def asks(model: str | None) -> Job:
            return services.create_job(
                owner=None,
                provider="openai",
                operation="text_to_image",
                model=model,
                params={"prompt": "a fox"},
                idempotency_key="k",
            )

        default, other = list(adapter_named("openai").operations["text_to_image"].models)[:2]
        job = asks(None)
        assert (job.model, asks(default)) == (default, job)
        with pytest.raises(GenerationRefused, match="idempotency_key: it made job"):
            asks(other)

    def test_a_child_waits_for_its_parent_and_ends_with_it(self, fake, account, ada) -> None:
        parent = ask(ada)
        child = ask(ada, prompt="the child", parent=parent)
        grandchild = ask(ada, prompt="the grandchild", parent=child)
        assert child.error_message == f"It waits for its parent job {parent.pk}."
        child = finish(child, parent)
        assert child.status == "completed"
        assert child.started_at > Job.objects.get(pk=parent.pk).completed_at
        services.cancel_job(job=grandchild)

        lost = ask(ada)
        orphan = ask(ada, prompt="an orphan", parent=lost)
        services.cancel_job(job=lost)
        orphan = finish(orphan)
        assert (orphan.status, orphan.error_class) == ("failed", "parent")
        assert credits.balance(ada) == 996

    def test_a_job_may_be_for_later(self, fake, account) -> None:
        job = ask(scheduled_at=timezone.now() + timedelta(hours=1))
        work(lambda: True)
        assert Job.objects.get(pk=job.pk).status == "pending"
        assert not fake.requests
        hurry()
        assert finish(job).status == "completed"

    def test_an_asset_of_somebody_else_does_not_exist(self, fake, ada) -> None:
        asset = Asset.objects.create(
            user=services.system_user(), media_type="image", provider_id="p", provider_asset_id="1"
        )
        with pytest.raises(GenerationRefused, match=f"there is no asset:{asset.pk}"):
            services.create_job(
                owner=ada,
                provider="local",
                operation="image_to_image",
                params={"image": f"asset:{asset.pk}", "prompt": "x"},
            )


def test_a_provider_that_does_not_answer_is_left_alone_and_probed(fake, make_account) -> None:
    make_account("1", slots=3)
    make_account("2", slots=3)
    fake.script("submit", *[DOWN] * 5)
    fake.latency = 0.05
    first = ask(prompt="the first")
    work(lambda: bool(hurry(accounts=True)) or fake.requests["submit"] == 5)
    jobs = [first, *(ask(prompt=f"picture {number}") for number in range(7))]
    for _ in range(3):
        hurry(accounts=True)
        work(lambda: True)
    assert fake.requests["submit"] == 5
    assert "simple does not answer. It is tried again at" in (reason(jobs[-1]) or "")

    ProviderSubmission.objects.update(responded_at=timezone.now() - timedelta(minutes=1))
    work(lambda: bool(hurry(accounts=True)) or fake.requests["submit"] > 5)
    probe = ProviderSubmission.objects.order_by("submitted_at")[5]
    assert "whether the provider answers again" in (probe.choice or "")
    work(lambda: bool(hurry(accounts=True)) or ended(*jobs)(), seconds=30)
    assert set(Job.objects.values_list("status", flat=True)) == {"completed"}


class TestAccounts:
    def test_one_whose_secrets_cannot_be_read_errs_and_holds_nobody_up(
        self, fake, make_account
    ) -> None:
        broken = make_account("1", priority=9)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE provider_accounts SET api_key = 'pxs1:nonsense' WHERE id = %s", [broken.pk]
            )
        make_account("2")
        assert finish(ask()).status == "completed"
        assert ProviderAccount.objects.values_list("status").get(pk=broken.pk) == ("error",)

    def test_all_exhausted_means_that_jobs_wait_and_say_so(self, fake, make_account) -> None:
        make_account("1")
        fake.exhausted.add("test-key-1")
        job = ask()
        work(lambda: ProviderAccount.objects.filter(status="exhausted").exists())
        job.refresh_from_db()
        assert job.status == "pending"
        assert "quota" in job.error_message
        fake.exhausted.clear()
        work(lambda: bool(hurry(accounts=True)) or ended(job)())
        account = ProviderAccount.objects.get()
        assert (account.status, account.cooldown_until) == ("active", None)

    def test_a_private_account_works_for_its_owner_only_and_first(
        self, fake, make_account, ada
    ) -> None:
        own = make_account("own", user=ada.user, is_private=True, slots=5)
        shared = make_account("shared", priority=9, slots=5)
        mine, other = ask(ada), ask()
        finish(mine, other)
        assert submissions(mine)[0].account == own
        assert submissions(other)[0].account == shared

    def test_a_daily_cap_holds(self, fake, make_account) -> None:
        make_account("1", max_daily_videos=1)
        first, second = ask(), ask(prompt="second")
        work(lambda: Job.objects.filter(status="completed").exists())
        hurry()
        work(lambda: True)
        assert Job.objects.filter(status="pending").count() == 1
        services.cancel_job(job=second if ended(first)() else first)


class TestAFullDisk:
    @pytest.fixture
    def job(self, blob_folder) -> Job:
        """A picture of `local`, whose answer holds the file, and nowhere to write it."""
        blob_folder.write_text("in the way")
        params = {"prompt": "dunes", "width": 64, "height": 64}
        return services.create_job(
            owner=None, provider="local", operation="text_to_image", params=params
        )

    def test_a_file_in_our_hands_waits_for_room(
        self, job, blob_folder, caplog, monkeypatch
    ) -> None:
        def make_room() -> None:
            while "cannot be kept" not in caplog.text:
                time.sleep(0.01)
            blob_folder.unlink()

        monkeypatch.setattr(calling, "KEEP_DELAYS", [0.1] * 100)
        with ThreadPoolExecutor(1) as beside:
            room = beside.submit(make_room)
            job = finish(job)
            room.result(timeout=1)
        assert (job.status, len(submissions(job))) == ("completed", 1)

    def test_one_that_waits_too_long_keeps_no_slot(self, job, blob_folder, monkeypatch) -> None:
        monkeypatch.setattr(calling, "KEEP_DELAYS", [])
        work(lambda: ProviderSubmission.objects.filter(status="failed").exists())
        blob_folder.unlink()
        work(lambda: bool(hurry(accounts=True)) or ended(job)())
        assert [one.status for one in submissions(job)][-2:] == ["failed", "succeeded"]


def test_a_provider_that_never_says_what_became_of_it_keeps_no_slot_for_ever(
    fake, account, ada
) -> None:
    fake.script("submit", DROPPED_AFTER)
    fake.script("find", *[HTML] * 1000)
    job = ask(ada)
    work(lambda: fake.requests["find"] > 2 or bool(hurry()))
    assert not ended(job)()
    ProviderSubmission.objects.update(
        submitted_at=timezone.now() - timedelta(hours=2), polls=result_handling.FIND_TRIES
    )
    work(lambda: bool(hurry()) or ended(job)())
    job.refresh_from_db()
    assert (job.status, job.error_class) == ("failed", "undecided")
    assert credits.balance(ada) == 998
    services.resolve_charge(job=job, charge=False)


def test_an_answer_is_kept_while_the_database_is_away(fake, account, ada, monkeypatch) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)  # else it would be looked up
    fake.at_once, fake.duration = True, 0.5
    job = ask(ada)

    def cut_off() -> None:
        """Nobody reaches the database from the middle of the call until after its answer."""
        while not fake.requests["submit"]:
            time.sleep(0.01)
        database = connections["default"].settings_dict
        words = {"name": sql.Identifier(database["NAME"])}
        with psycopg.connect(database_url(), dbname="postgres", autocommit=True) as admin:
            allow = sql.SQL("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")
            admin.execute(allow.format(**words, allowed=sql.SQL("false")))
            try:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [database["NAME"]],
                )
                time.sleep(1.5)
            finally:
                admin.execute(allow.format(**words, allowed=sql.SQL("true")))

    with ThreadPoolExecutor(1) as beside:
        cut = beside.submit(cut_off)
        while not cut.done() or not ended(job)():
            try:
                work(ended(job))
            except OperationalError:
                connections["default"].close()

    job = Job.objects.get(pk=job.pk)
    assert (job.status, len(submissions(job))) == ("completed", 1)


def test_an_answer_that_postgresql_cannot_hold_is_written_out(fake, account) -> None:
    odd = {"note": "a\x00b\ud800", "score": float("nan"), "list": ["\x00"]}
    fake.script("submit", Behaviour(change=lambda view: {**view, **odd}))
    fake.script("check", Behaviour(change=lambda view: {**view, **odd}))
    job = finish(ask())
    assert job.status == "completed"
    response = submissions(job)[0].response
    assert (response["note"], response["score"], response["list"]) == (
        "a\\0b\\ud800", None, ["\\0"],
    )  # fmt: skip


def test_an_answer_that_cannot_be_recorded_ends_the_job_and_keeps_no_slot(
    fake, account, ada
) -> None:
    with unrecordable("accepted"):
        job = finish(ask(ada))
    assert (job.status, job.error_class) == ("failed", "undecided")
    assert "cannot be recorded (IntegrityError" in job.error_message
    assert submissions(job)[0].status == "failed"
    assert credits.balance(ada) == 998
    services.resolve_charge(job=job, charge=False)


def test_a_job_cannot_be_started_anew_while_its_call_is_under_way(fake, account, ada) -> None:
    fake.latency = 0.5
    job = ask(ada)
    with ThreadPoolExecutor(1) as beside:

        def cancel_and_retry() -> str:
            try:
                while not fake.requests["submit"]:
                    time.sleep(0.01)
                services.cancel_job(job=job)
                with pytest.raises(WrongState, match="still at work"):
                    services.retry_job(job=job)
                # By hand it can be revived; it waits until the call has ended.
                with edits_by_hand():
                    Job.objects.filter(pk=job.pk).update(
                        status="pending", ready_at=timezone.now(), completed_at=None
                    )
                return "done"
            finally:
                connections.close_all()

        tried = beside.submit(cancel_and_retry)
        other = ask(prompt="another")
        work(lambda: tried.done() and ended(job, other)())
        assert tried.result() == "done"
    assert Job.objects.get(pk=other.pk).status == "completed"
    assert fake.requests["submit"] == 3


def test_what_could_not_be_sent_is_tried_again_without_blame(
    fake, account, ada, monkeypatch
) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    real, failures = allocation.request_for, [OperationalError("the server is starting up")]

    def request_for(attempt: object) -> object:
        if failures:
            raise failures.pop()
        return real(attempt)

    monkeypatch.setattr(allocation, "request_for", request_for)
    job = ask(ada)
    work(lambda: bool(hurry()) or ended(job)())
    assert [one.error_class for one in submissions(job)] == ["unavailable", None]
    assert Job.objects.get(pk=job.pk).status == "completed"
    account.refresh_from_db()
    assert (account.failure_streak, account.last_error) == (0, None)


def test_a_refusal_counts_also_when_the_sweeper_has_held_it_for_lost(
    fake, account, ada, monkeypatch
) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    fake.script("submit", Behaviour(work=False, delay=0.5, answer=(402, error("no_credit"), {})))
    job = ask(ada)
    with ThreadPoolExecutor(1) as beside:

        def lose() -> None:
            try:
                while not fake.requests["submit"]:
                    time.sleep(0.01)
                ProviderSubmission.objects.update(
                    status="unknown", deadline_at=timezone.now() + timedelta(seconds=60)
                )
            finally:
                connections.close_all()

        lost = beside.submit(lose)
        work(lambda: bool(hurry(accounts=True)) or ended(job)())
        lost.result()
    assert Job.objects.get(pk=job.pk).status == "completed"
    assert submissions(job)[0].error_class == "quota"


def test_a_call_that_breaks_is_looked_up(fake, account, ada, monkeypatch) -> None:
    async def broken(*args: object) -> None:
        await real(*args)
        raise RuntimeError("a bug of ours")

    real = calling.Caller.submit
    monkeypatch.setattr(calling.Caller, "submit", broken)
    job = ask(ada)
    work(lambda: fake.requests["submit"] > 0)
    with edits_by_hand():
        Job.objects.filter(lease_expires_at__isnull=False).update(lease_expires_at=timezone.now())
    work(lambda: bool(hurry()) or ended(job)())
    assert Job.objects.get(pk=job.pk).status == "completed"
    assert fake.requests["submit"] == 1


def test_an_account_rests_as_long_as_its_provider_asks_whatever_succeeds_meanwhile(
    fake, account
) -> None:
    earlier = ask()
    work(lambda: bool(fake.generations))
    for status, code in ((503, "internal"), (429, "slow_down")):
        ProviderAccount.objects.update(cooldown_until=None)
        fake.script("submit", refuses(status, error(code), {"Retry-After": "40"}))
        refused = ask()
        work(lambda: ProviderAccount.objects.filter(cooldown_until__isnull=False).exists())
        if status == 503:
            finish(earlier)
        rests = ProviderAccount.objects.get().cooldown_until
        assert timedelta(seconds=20) < rests - timezone.now() < timedelta(seconds=41)
        services.cancel_job(job=refused)


def test_an_answer_that_says_tomorrow_stops_neither_a_generation_nor_an_account_for_a_day(
    fake, account
) -> None:
    fake.duration = None
    job = ask()
    work(lambda: bool(fake.generations))
    fake.script("check", refuses(503, error("internal"), {"Retry-After": "86400"}))
    work(lambda: bool(hurry()) or ProviderAccount.objects.get().cooldown_until is not None)

    submission = job.submissions.get()
    assert submission.next_poll_at <= submission.deadline_at + timedelta(seconds=1)
    rests = ProviderAccount.objects.get().cooldown_until - timezone.now()
    assert timedelta(minutes=50) < rests <= timedelta(hours=1)
    fake.finish(next(iter(fake.generations)))
    hurry()
    assert finish(job).status == "completed"
