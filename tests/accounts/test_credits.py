"""Credits: nobody overdraws, a hold ends once, and the ledger explains every balance."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import credits
from accounts.errors import InsufficientCredits, MonthlyLimitReached
from accounts.models import ActivityLog, CreditAccount, CreditTransaction, Profile
from tests.accounts.conftest import Migrate
from tests.admin_forms import sent

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> Profile:
    return Profile.objects.create(email="ada@x.org")


def grant(profile: Profile, amount: int, reference: str = "gift") -> None:
    credits.grant(profile=profile, amount=amount, description="a gift", reference=reference)


def hold(profile: Profile | None, amount: int, reference: str = "job:1") -> Any:
    return credits.hold(profile=profile, amount=amount, description="a job", reference=reference)


def test_a_hold_is_not_there_to_spend_and_its_rest_comes_back(ada: Profile) -> None:
    grant(ada, 100)
    hold(ada, 60)
    assert credits.balance(ada) == 40
    assert credits.capture(reference="job:1", actual=25) == 25
    assert credits.balance(ada) == 75
    assert CreditAccount.objects.get().monthly_usage == 25
    hold(ada, 75, "job:2")
    assert credits.release(reference="job:2") == 75
    assert credits.balance(ada) == 75
    lines = CreditTransaction.objects.order_by("created_at").values_list("type", "amount")
    assert sorted(lines) == [
        ("bonus", 100), ("capture", 35), ("hold", -75), ("hold", -60), ("release", 75),
    ]  # fmt: skip
    assert credits.check().rows == []


def test_more_than_there_is_is_refused_and_nothing_written(ada: Profile) -> None:
    grant(ada, 10)
    with pytest.raises(InsufficientCredits, match="11 are needed and 10 are there"):
        hold(ada, 11)
    assert credits.balance(ada) == 10
    assert CreditTransaction.objects.count() == 1


def test_the_same_reference_is_booked_once(ada: Profile) -> None:
    for _ in range(3):
        grant(ada, 10)
        hold(ada, 4)
    assert credits.balance(ada) == 6


def test_two_people_may_have_the_same_reference(ada: Profile) -> None:
    grace = Profile.objects.get(user=User.objects.create_user("grace", "grace@x.org"))
    for _ in range(2):
        grant(ada, 10, "invoice 7")
        grant(grace, 20, "invoice 7")
    assert (credits.balance(ada), credits.balance(grace)) == (10, 20)
    assert run("grant", "grace@x.org", "5", "--reference", "8") == (
        0, "grace@x.org has 25 credits.\n",
    )  # fmt: skip
    assert run("grant", "ada@x.org", "5", "--reference", "8") == (0, "ada@x.org has 15 credits.\n")


def test_a_hold_is_closed_once_whoever_comes_second(ada: Profile) -> None:
    grant(ada, 10)
    hold(ada, 10)
    assert credits.release(reference="job:1") == 10
    assert credits.capture(reference="job:1", actual=10) == 0
    assert credits.release(reference="job:1") == 0
    assert credits.release(reference="never held") == 0
    assert credits.balance(ada) == 10
    held = CreditTransaction.objects.get(type="hold")
    with (
        pytest.raises(IntegrityError, match="uq_credit_transactions_settles"),
        transaction.atomic(),
    ):
        CreditTransaction.objects.create(
            account=held.account, user=ada, type="release", amount=1, balance_after=1, closes=held
        )


def test_work_that_cost_more_than_was_held_takes_what_there_is(ada: Profile) -> None:
    grant(ada, 10)
    hold(ada, 4)
    assert credits.capture(reference="job:1", actual=50) == 10
    assert credits.balance(ada) == 0
    line = CreditTransaction.objects.get(type="capture")
    assert line.metadata == {"held": 4, "actual": 50, "taken": 10}
    assert credits.check().rows == []


def test_the_system_pays_nothing_and_wrong_amounts_are_refused(ada: Profile) -> None:
    assert hold(None, 1_000_000) is None
    with pytest.raises(ValueError, match="positive"):
        grant(ada, 0)
    with pytest.raises(ValueError, match="negative"):
        hold(ada, -1)
    with pytest.raises(ValueError, match="negative"):
        credits.capture(reference="job:1", actual=-1)


def account(profile: Profile, **terms: Any) -> CreditAccount:
    """Return the profile's account, with other terms if there are any."""
    credits.open_account(profile)
    if terms:
        CreditAccount.objects.filter(user=profile).update(**terms)
    return CreditAccount.objects.get(user=profile)


def a_month_passes() -> None:
    """Make everything so far a thing of an earlier month."""
    past = timezone.now() - timedelta(days=31)
    CreditAccount.objects.update(updated_at=past)
    CreditTransaction.objects.update(created_at=past)


def test_a_hold_beyond_the_monthly_limit_is_refused_and_what_comes_back_counts_no_more(
    ada: Profile,
) -> None:
    account(ada, monthly_limit=20)
    grant(ada, 100)
    hold(ada, 15, "job:1")
    said = "credits: 6 are needed, and 15 of the monthly limit of 20 are used or held.*UTC"
    with pytest.raises(MonthlyLimitReached, match=said):
        hold(ada, 6, "job:2")
    assert (credits.balance(ada), CreditTransaction.objects.count()) == (85, 2)
    hold(ada, 5, "job:2")
    credits.capture(reference="job:1", actual=3)
    credits.release(reference="job:2")
    assert account(ada).used_this_month == 3
    hold(ada, 17, "job:3")
    hold(ada, 0, "job:4")  # costs nothing, so no limit refuses it
    # Work that has ended is paid, also beyond the limit.
    assert credits.capture(reference="job:3", actual=30) == 30
    assert account(ada).used_this_month == 33


def test_the_use_of_a_month_begins_anew_and_a_hold_counts_where_it_was_made(ada: Profile) -> None:
    account(ada, monthly_limit=20)
    grant(ada, 100)
    hold(ada, 12, "job:1")
    hold(ada, 8, "job:2")
    a_month_passes()
    assert account(ada).used_this_month == 0
    hold(ada, 20, "job:3")
    credits.release(reference="job:1")  # of the month before: makes no room in this one
    assert account(ada).used_this_month == 20
    assert credits.capture(reference="job:2", actual=9) == 9  # one more than was held then
    assert account(ada).used_this_month == 21
    with pytest.raises(MonthlyLimitReached):
        hold(ada, 1, "job:4")
    assert account(ada).used_a_day == 21 / timezone.now().astimezone(UTC).day


def refills() -> list[int]:
    found = CreditTransaction.objects.filter(reference__startswith="refill:")
    return list(found.order_by("created_at").values_list("amount", flat=True))


def test_a_balance_that_falls_below_the_threshold_is_refilled_once_each_time(ada: Profile) -> None:
    account(ada, auto_refill_enabled=True, refill_threshold=50, refill_amount=30)
    grant(ada, 20)
    assert refills() == []  # it never was above
    grant(ada, 40, "more")
    hold(ada, 10, "job:1")
    assert refills() == []  # 50 is not below 50
    for _ in range(2):
        hold(ada, 30, "job:2")
    assert (refills(), credits.balance(ada)) == ([30], 50)
    hold(ada, 40, "job:3")
    assert (refills(), credits.balance(ada)) == ([30, 30], 40)
    hold(ada, 10, "job:4")  # below since then
    assert (refills(), credits.balance(ada)) == ([30, 30], 30)
    grant(ada, 40, "yet more")
    credits.capture(reference="job:4", actual=45)  # 10 held, 35 from the balance
    assert (refills(), credits.balance(ada)) == ([30, 30, 30], 65)
    assert credits.check().rows == []


def test_an_account_without_automatic_refill_is_not_refilled(ada: Profile) -> None:
    grant(ada, 200)
    hold(ada, 150)
    assert refills() == []


def test_people_change_the_terms_in_the_admin_and_nothing_else(
    ada: Profile, admin_client: Any
) -> None:
    grant(ada, 60)
    hold(ada, 20)
    a_month_passes()
    url = f"/admin/accounts/creditaccount/{account(ada).pk}/change/"
    page = admin_client.get(url)
    for hidden in ("average_daily_usage", "monthly_usage"):
        assert hidden not in page.content.decode()
    wanted = {"auto_refill_enabled": "on", "refill_threshold": "50", "monthly_limit": "70"}
    assert admin_client.post(url, sent(page, current_balance="9", **wanted)).status_code == 302
    changed = account(ada)
    assert (changed.monthly_limit, changed.auto_refill_enabled) == (70, True)
    # It was due for a refill at once, and last month's use is not taken for this month's.
    assert (changed.current_balance, refills(), changed.used_this_month) == (540, [500], 0)
    line = ActivityLog.objects.get(action="credit_account.terms_changed")
    assert line.metadata["after"]["monthly_limit"] == 70
    admin_client.post(url, sent(admin_client.get(url), refill_amount="400"))
    assert (refills(), account(ada).refill_amount) == ([500], 400)
    refused = admin_client.post(url, sent(page, monthly_limit="0"))
    assert "greater than or equal to 1" in refused.content.decode()


def test_a_profile_goes_with_its_ledger_also_by_plain_sql(ada: Profile) -> None:
    grant(ada, 10)
    hold(ada, 4)
    credits.release(reference="job:1")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM profiles")
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert not CreditTransaction.objects.exists()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["grant", "hold", "capture", "release"]),
        st.integers(0, 4),
        st.integers(0, 30),
    ),
    max_size=25,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_after_any_steps_the_balance_is_the_sum_of_the_ledger(
    ada: Profile, steps: list[tuple[str, int, int]]
) -> None:
    with transaction.atomic():
        given_, spent, open_holds = 0, 0, {}  # what an independent book keeps
        known: set[str] = set()
        for word, number, amount in steps:
            reference = f"job:{number}"
            if word == "grant" and amount:
                grant(ada, amount, f"gift:{len(known)}:{given_}:{amount}:{spent}")
                given_ = sum(
                    CreditTransaction.objects.filter(type="bonus").values_list("amount", flat=True)
                )
            elif word == "hold" and reference not in known:
                free = given_ - spent - sum(open_holds.values())
                try:
                    hold(ada, amount, reference)
                except InsufficientCredits:
                    assert amount > free
                else:
                    assert amount <= free
                    open_holds[reference] = amount
                    known.add(reference)
            elif word == "capture":
                free = given_ - spent - sum(open_holds.values())
                held = open_holds.pop(reference, None)
                taken = credits.capture(reference=reference, actual=amount)
                assert taken == (0 if held is None else min(amount, held + free))
                spent += taken
            elif word == "release":
                assert credits.release(reference=reference) == open_holds.pop(reference, 0)
            assert credits.balance(ada) == given_ - spent - sum(open_holds.values()) >= 0
            assert credits.check().rows == []
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_fifty_spenders_at_once_never_overdraw() -> None:
    ada = Profile.objects.create(email="ada@x.org")
    grant(ada, 100)
    start = threading.Barrier(50)

    def spend(number: int) -> int:
        try:
            start.wait(30)
            hold(ada, 7, f"job:{number}")
            # Two close each hold, at the same time as others hold.
            if number % 2:
                credits.capture(reference=f"job:{number}", actual=5)
                credits.release(reference=f"job:{number}")
        except InsufficientCredits:
            return 0
        finally:
            connections["default"].close()
        return 5 if number % 2 else 7

    with ThreadPoolExecutor(50) as pool:
        spent = sum(pool.map(spend, range(50)))
    # 14 pass at the least: what is given back lets others pass later.
    assert spent >= 70
    assert credits.balance(ada) == 100 - spent >= 0
    assert credits.check().rows == []


@pytest.mark.django_db(transaction=True)
def test_many_who_close_one_hold_close_it_once() -> None:
    ada = Profile.objects.create(email="ada@x.org")
    grant(ada, 10)
    hold(ada, 10)
    start = threading.Barrier(8)

    def close(number: int) -> int:
        try:
            start.wait(30)
            if number % 2:
                return credits.capture(reference="job:1", actual=3)
            return credits.release(reference="job:1")
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(8) as pool:
        results = [result for result in pool.map(close, range(8)) if result]
    assert results in ([3], [10])
    assert credits.balance(ada) == (7 if results == [3] else 10)


def run(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("credits", *words, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


def test_the_command_finds_a_balance_that_nothing_explains(ada: Profile) -> None:
    grant(ada, 10)
    assert run("check") == (0, "Each balance is the sum of its ledger.\n")
    CreditAccount.objects.update(current_balance=17)
    code, said = run("check")
    assert code == 1
    assert "balance=17, ledger=10" in said
    assert run("check", "--json")[1].startswith('{"ok": false, "unexplained": [{"profile"')
    assert run("check", "--explain", "carried over") == (
        0,
        "Each balance is the sum of its ledger.\n",
    )
    line = CreditTransaction.objects.get(type="adjustment")
    assert (line.amount, line.balance_after, line.description) == (7, 17, "carried over")


def test_the_command_grants_once_and_names_what_is_wrong(ada: Profile) -> None:
    grant_ = ("grant", "ada@x.org", "25", "--reference", "invoice 7")
    assert run(*grant_) == (0, "ada@x.org has 25 credits.\n")
    assert run(*grant_) == (0, "ada@x.org has 25 credits.\n")
    code, said = run("grant", "ada@x.org", "26", "--reference", "invoice 7")
    assert code == 1
    assert "reference invoice 7 was booked before with 25 credits" in said
    code, said = run("balance", "nobody@x.org")
    assert (code, said.partition(";")[0]) == (2, "email: nobody has the e-mail 'nobody@x.org' here")
    with pytest.raises(CommandError, match=r"amount: must be a whole number from 1 .*, not '0'"):
        call_command("credits", "grant", "ada@x.org", "0", "--reference", "r")


@pytest.mark.long
def test_going_back_is_refused_while_holds_would_be_lost(migrate: Migrate) -> None:
    ada = Profile.objects.create(email="ada@x.org")
    grant(ada, 10)
    hold(ada, 4)
    with pytest.raises(ValueError, match="1 lines of the ledger are holds"):
        migrate("0002_user_tier")
    assert credits.balance(ada) == 6
    CreditTransaction.objects.filter(type="hold").delete()
    migrate("0002_user_tier")
    with connection.cursor() as cursor:
        cursor.execute("SELECT amount FROM credit_transactions")
        assert cursor.fetchall() == [(10,)]
