"""Accounts that were guessed are found out from what was sent and what came back; and back."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from jobs.models import Job
from providers.backfills import ACCOUNTS_FROM_EVIDENCE, ACCOUNTS_FROM_EVIDENCE_UNDO
from tests.providers.conftest import Migrate, execute

pytestmark = pytest.mark.django_db(transaction=True)
Submit = Callable[..., int]


@pytest.fixture
def accounts() -> dict[str, int]:
    """Three accounts of provider a, of which the first is what the guess says; one of b."""
    rows = [
        ("first", "a", "first@x.org", "u-1"),
        ("second", "a", "second@x.org", "u-2"),
        ("third", "a", "third@x.org", None),
        ("only", "b", "only@x.org", None),
    ]
    return {
        name: execute(
            "INSERT INTO provider_accounts (provider_id, email, provider_user_id) "
            "VALUES (%s, %s, %s) RETURNING id",
            *row,
        )[0][0]
        for name, *row in rows
    }


@pytest.fixture
def submit(accounts: dict[str, int], job: Job) -> Iterator[Submit]:
    def submit(
        payload: Any = None, response: Any = None, provider: str = "a", source: str = "backfill"
    ) -> int:
        guess = accounts["first"] if provider == "a" else accounts["only"]
        return execute(
            "INSERT INTO provider_submissions "
            "(job_id, account_id, provider_id, account_source, payload, response) "
            "VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            *(job.pk, guess, provider, source),
            *(None if body is None else json.dumps(body) for body in (payload, response)),
        )[0][0]

    yield submit
    execute("DELETE FROM provider_submissions")


def found(submission: int) -> tuple[int, str]:
    return execute(
        "SELECT account_id, account_source FROM provider_submissions WHERE id = %s", submission
    )[0]


def run() -> int:
    return ACCOUNTS_FROM_EVIDENCE.run(connection)


@pytest.mark.parametrize(
    "body",
    [
        {"account_id": "ID"},
        {"account_id": "ID as text"},
        {"provider_account_id": "ID"},
        {"account": {"id": "ID"}},
        {"email": "Second@X.org"},
        {"account": "second@x.org", "prompt": "a fox"},
        {"account_email": "second@x.org"},
        {"account": {"email": "second@x.org", "id": "unknown-to-us"}},
        {"provider_user_id": "U-2"},
        {"account": {"user_id": "u-2"}},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("where", ["payload", "response"])
def test_an_account_that_a_body_names_is_evidence(
    body: dict[str, Any], where: str, accounts: dict[str, int], submit: Submit
) -> None:
    second = accounts["second"]
    text = json.dumps(body).replace('"ID"', str(second)).replace("ID as text", str(second))
    submission = submit(**{where: json.loads(text)})
    assert run() == 1
    assert found(submission) == (second, "evidence")


@pytest.mark.parametrize(
    "bodies",
    [
        (None, None),
        ({}, {}),
        ({"prompt": "second@x.org"}, None),
        ({"email": "second@x.org"}, {"email": "third@x.org"}),
        ({"email": "gone@x.org"}, None),
        ({"email": "only@x.org"}, None),
        (["second@x.org"], "second@x.org"),
        ({"account": {"email": None}, "account_id": None}, {"account": []}),
        ({"email": "' OR true --"}, {"account_id": "%s"}),
    ],
    ids=json.dumps,
)
def test_no_evidence_or_evidence_for_two_leaves_the_guess(
    bodies: tuple[Any, Any], accounts: dict[str, int], submit: Submit
) -> None:
    submission = submit(*bodies)
    assert run() == 0
    assert found(submission) == (accounts["first"], "backfill")


def test_the_only_account_of_a_provider_is_it_unless_another_is_named(
    accounts: dict[str, int], submit: Submit
) -> None:
    plain = submit({"prompt": "a fox"}, provider="b")
    named = submit({"email": "only@x.org"}, provider="b")
    somebody_else = submit({"email": "gone@x.org"}, provider="b")
    assert run() == 2
    assert found(plain) == (accounts["only"], "only_account")
    assert found(named) == (accounts["only"], "evidence")
    assert found(somebody_else) == (accounts["only"], "backfill")


def test_what_was_recorded_is_never_overwritten(accounts: dict[str, int], submit: Submit) -> None:
    recorded = submit({"email": "second@x.org"}, source="recorded")
    assert run() == 0
    assert found(recorded) == (accounts["first"], "recorded")


def test_the_undo_guesses_again(accounts: dict[str, int], submit: Submit) -> None:
    evidence, only = submit({"email": "second@x.org"}), submit(provider="b")
    recorded = submit(source="recorded")
    run()
    assert ACCOUNTS_FROM_EVIDENCE_UNDO.run(connection) == 2
    assert found(evidence) == (accounts["first"], "backfill")
    assert found(only) == (accounts["only"], "backfill")
    assert found(recorded) == (accounts["first"], "recorded")
    assert run() == 2


def test_going_back_keeps_the_accounts_and_marks_them_as_guesses(
    accounts: dict[str, int], submit: Submit, migrate: Migrate
) -> None:
    submission = submit({"email": "second@x.org"})
    run()
    migrate("providers", "0006_generation_time")
    assert found(submission) == (accounts["second"], "backfill")
