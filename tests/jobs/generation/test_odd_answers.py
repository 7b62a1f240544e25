"""One odd answer of a provider is that submission's trouble: money is decided, other jobs go on."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import credits
from jobs.models import Job
from jobs.queue.kinds import kind_named
from jobs.queue.ops.check import check
from providers import credits as provider_credits
from providers.models import ProviderAccount, ProviderCredit, ProviderSubmission
from tests.jobs.generation.conftest import ask, ended, finish, hurry, work
from tests.providers.adapters.fake import Behaviour, refuses
from tests.providers.adapters.simple_adapter import SimpleAdapter
from tests.providers.adapters.simple_fake import error

pytestmark = pytest.mark.django_db(transaction=True)

DIGITS = "9" * 400
FAR_AWAY = "Fri, 31 Dec 100000000000000000000 23:59:59 GMT"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _all_is_in_order():
    yield
    assert [one for one in check([kind_named("generation")]) if not one.holds] == []
    assert credits.check().rows == []


def changed(**values: object) -> Behaviour:
    return Behaviour(change=lambda view: {**view, **values})


def deep(levels: int) -> list[object]:
    nested: list[object] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize("wait", [DIGITS, FAR_AWAY])
def test_a_pause_without_measure_is_a_rate_limit_and_the_money_is_decided(
    fake, make_account, ada, monkeypatch, wait
) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    asked = make_account("1", priority=9)
    make_account("2")
    fake.script("submit", refuses(429, error("slow_down"), {"Retry-After": wait}))
    job = ask(ada)
    work(lambda: bool(hurry()) or ended(job)())

    assert Job.objects.get(pk=job.pk).status == "completed"
    first = ProviderSubmission.objects.earliest("retry_attempt")
    assert (first.status, first.error_class) == ("failed", "rate_limit")
    rests = ProviderAccount.objects.get(pk=asked.pk).cooldown_until
    assert timezone.now() < rests <= timezone.now() + DAY
    assert credits.balance(ada) == 998


def test_numbers_and_texts_beyond_our_columns_do_not_lose_a_result(fake, make_account, ada) -> None:
    make_account(slots=20)
    costs = [10**400, float("inf"), float("nan"), -1, "1e400", {"credits": 2}, True]
    odd = [changed(cost=cost) for cost in costs]
    odd.append(changed(note="\x00\ud800", list=deep(500)))
    fake.script("submit", changed(progress=10**400, note=10**400, list=deep(500)))
    fake.script("check", *odd)
    jobs = [ask(ada, prompt=str(number)) for number in range(len(odd))]
    work(lambda: bool(hurry(accounts=True)) or ended(*jobs)())

    assert set(Job.objects.values_list("status", "cost")) == {("completed", 2)}
    assert set(ProviderSubmission.objects.values_list("cost", flat=True)) <= {None, 2.0}
    assert len(fake.generations) == len(odd)
    assert credits.balance(ada) == 1000 - 2 * len(odd)


def test_an_id_that_cannot_be_stored_is_looked_up(fake, make_account, ada) -> None:
    make_account(slots=20)
    ids = ["x" * 300, "a\x00b", "\ud800"]
    fake.script("submit", *(changed(id=id) for id in ids))
    jobs = [ask(ada, prompt=str(number)) for number in range(len(ids))]
    work(lambda: bool(hurry(accounts=True)) or ended(*jobs)())
    assert set(Job.objects.values_list("status", flat=True)) == {"completed"}
    assert len(fake.generations) == len(ids)


def test_or_ends_the_job_where_nothing_can_be_looked_up(fake, account, ada, monkeypatch) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    fake.script("submit", changed(id="x" * 300))
    job = ask(ada)
    work(lambda: ProviderSubmission.objects.filter(status="unknown").exists())
    assert "id of the generation" in ProviderSubmission.objects.get().error_message
    ProviderSubmission.objects.update(deadline_at=timezone.now(), next_poll_at=timezone.now())
    job = finish(job)
    assert (job.status, job.error_class) == ("failed", "undecided")


def test_an_answer_that_cannot_be_read_is_asked_for_again(fake, make_account, ada) -> None:
    make_account(slots=20)
    odd = [
        changed(status=None),
        changed(files={"a": 1}),
        changed(files=[7]),
        changed(files=[["http://127.0.0.1/"]]),
        Behaviour(answer=(200, "[" * 100_000, {})),
        Behaviour(answer=(200, '{"id": ' + "9" * 5000 + "}", {})),
        Behaviour(answer=(200, "\x00\ud7ff{", {})),
    ]
    fake.script("check", *odd)
    jobs = [ask(ada, prompt=str(number)) for number in range(len(odd) + 1)]
    work(lambda: bool(hurry(accounts=True)) or ended(*jobs)())
    assert set(Job.objects.values_list("status", flat=True)) == {"completed"}
    assert len(fake.generations) == len(jobs)
    assert credits.balance(ada) == 1000 - 2 * len(jobs)


def test_an_error_nested_too_deeply_is_classified_by_its_status(fake, account, ada) -> None:
    fake.script("submit", Behaviour(work=False, answer=(400, "[" * 100_000, {})))
    job = finish(ask(ada))
    assert (job.status, job.error_class) == ("failed", "invalid_parameter")
    assert credits.balance(ada) == 1000


def test_a_balance_that_cannot_be_stored_is_that_accounts_trouble(fake, make_account) -> None:
    accounts = [make_account(str(number)) for number in range(6)]
    amounts = [float("inf"), float("nan"), "x", None, [], 10**400]
    fake.script("credits", *(changed(credits=amount) for amount in amounts))

    told = provider_credits.refresh(accounts)

    assert sum(isinstance(one, provider_credits.Unknown) for one in told) == 5
    assert ProviderCredit.objects.get().amount == 2**31 - 1
