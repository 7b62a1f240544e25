"""Set the account of submissions that were recorded without one.

Only SQL, because migrations run it against tables that differ from today's models.

    recorded        written with the submission; never touched here
    backfill        the first account of the provider: a guess
    evidence        the payload or the response names the account
    only_account    the provider has this one account, and nothing names another
"""

from collections.abc import Sequence
from contextlib import closing

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.core.db.backfill import (
    Backfill,
    BackfillRefused,
    progress_lines,
    range_script,
    run_in_key_ranges,
)
from pixsim.core.db.steps import refusal

TABLE = "provider_submissions"
GUESSED = "account_source = 'backfill'"
BY_EVIDENCE = "account_source IN ('evidence', 'only_account')"


def _first_account(pending: str) -> str:
    """Return SQL that gives submissions the first account of their provider: a guess, so marked."""
    return f"""
        UPDATE provider_submissions AS submission
        SET account_id = first.account_id, account_source = 'backfill'
        FROM (
            SELECT provider_id, min(id) AS account_id FROM provider_accounts GROUP BY provider_id
        ) AS first
        WHERE submission.id BETWEEN %s AND %s AND submission.{pending}
            AND first.provider_id = submission.provider_id
    """


CLEAR = f"""
    UPDATE provider_submissions SET account_id = NULL, account_source = NULL
    WHERE id BETWEEN %s AND %s AND {GUESSED}
"""

# Names of the account in a payload or response, in the older system and the providers' APIs.
IDS = "body->>'account_id', body->>'provider_account_id', body#>>'{account,id}'"
NAMES = (
    "body->>'account', body->>'account_email', body->>'email', body#>>'{account,email}', "
    "body->>'provider_user_id', body#>>'{account,user_id}', body#>>'{account,provider_user_id}'"
)

# Evidence that names two accounts, or an unknown one, is not used: the guess stays.
FILL_FROM_EVIDENCE = f"""
    UPDATE provider_submissions AS submission
    SET account_id = coalesce(named.account_id, sole.account_id),
        account_source = CASE WHEN named.accounts = 1 THEN 'evidence' ELSE 'only_account' END
    FROM provider_submissions AS guess
    CROSS JOIN LATERAL (
        SELECT array_remove(array_agg(id), NULL) AS ids,
            array_remove(array_agg(lower(name)), NULL) AS names
        FROM (VALUES (guess.payload), (guess.response)) AS bodies (body),
            unnest(ARRAY[{IDS}], ARRAY[{NAMES}]) AS evidence (id, name)
    ) AS evidence
    CROSS JOIN LATERAL (
        SELECT count(*) AS accounts, CASE WHEN count(*) = 1 THEN min(account.id) END AS account_id
        FROM provider_accounts AS account
        WHERE account.provider_id = guess.provider_id AND (
            account.id::text = ANY (evidence.ids)
            OR lower(account.email) = ANY (evidence.names)
            OR lower(account.provider_user_id) = ANY (evidence.names || evidence.ids)
        )
    ) AS named
    LEFT JOIN (
        SELECT provider_id, min(id) AS account_id
        FROM provider_accounts GROUP BY provider_id HAVING count(*) = 1
    ) AS sole ON sole.provider_id = guess.provider_id
        AND evidence.ids = '{{}}' AND evidence.names = '{{}}'
    WHERE guess.id BETWEEN %s AND %s AND guess.account_source = 'backfill'
        AND submission.id = guess.id AND submission.account_source = 'backfill'
        AND coalesce(named.account_id, sole.account_id) IS NOT NULL
"""

MARK_AS_GUESS = f"""
    UPDATE provider_submissions SET account_source = 'backfill'
    WHERE id BETWEEN %s AND %s AND {BY_EVIDENCE}
"""

FROM_WITHOUT_ACCOUNT = """
    FROM provider_submissions AS submission
    WHERE account_id IS NULL AND NOT EXISTS (
        SELECT FROM provider_accounts AS account WHERE account.provider_id = submission.provider_id
    )
"""
WITHOUT_ACCOUNT = f"""
    SELECT provider_id, count(*), (array_agg(id ORDER BY id))[1:5]
    {FROM_WITHOUT_ACCOUNT}
    GROUP BY provider_id ORDER BY provider_id
"""


class ProvidersWithoutAccount(BackfillRefused):
    """Submissions of these providers cannot be given an account, because there is none."""

    def __init__(self, providers: Sequence[tuple[str, int, list[int]]]) -> None:
        rows = [
            f"  {provider}: {count:,} submissions, for example {', '.join(map(str, ids))}"
            for provider, count, ids in providers
        ]
        commands = [
            f"  manage.py provider_account add --provider {provider} --email EMAIL --status disabled"
            for provider, _count, _ids in providers
        ]
        lines = [
            f"{len(providers)} providers have submissions but no account:",
            *rows,
            "These submissions were left as they are. Add an account for each provider "
            "(disabled, if it is only to stand for the past), then migrate again:",
            *commands,
        ]
        super().__init__("\n".join(lines))


def fill_accounts(connection: BaseDatabaseWrapper) -> int:
    """Give every submission without an account the first account (lowest id) of its provider.

    Such rows are marked `account_source = 'backfill'`. Returns how many were filled; may be run
    again at any time. Raises ProvidersWithoutAccount before anything is written.
    """
    filled = 0
    while changed := FIRST_ACCOUNT.run(connection, on_batch=progress_lines()):
        filled += changed
    return filled


def clear_guessed_accounts(connection: BaseDatabaseWrapper) -> int:
    """Undo `fill_accounts`: clear the account of rows that are marked as guessed, and no others."""
    return _apply(connection, GUESSED, CLEAR)


def mark_evidence_as_guesses(connection: BaseDatabaseWrapper) -> int:
    """Mark the accounts from evidence as guesses, since the schema before has no other word.

    The accounts themselves stay.
    """
    return _apply(connection, BY_EVIDENCE, MARK_AS_GUESS)


def _apply(connection: BaseDatabaseWrapper, pending: str, change: str) -> int:
    on_batch = progress_lines()
    return run_in_key_ranges(
        connection, table=TABLE, pending=pending, change=change, on_batch=on_batch
    )


def refuse_providers_without_account(connection: BaseDatabaseWrapper) -> None:
    """Raise ProvidersWithoutAccount if the provider of a submission has no account."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(WITHOUT_ACCOUNT)
        if missing := cursor.fetchall():
            raise ProvidersWithoutAccount(missing)


FIRST_ACCOUNT = Backfill(
    name="first-account",
    help="Submissions without an account get the first of their provider, marked as a guess.",
    table=TABLE,
    pending="account_id IS NULL",
    change=_first_account("account_id IS NULL"),
    check=refuse_providers_without_account,
)

ACCOUNTS_FROM_EVIDENCE_UNDO = Backfill(
    name="accounts-from-evidence-undo",
    help="What accounts-from-evidence found is replaced by the guess again.",
    table=TABLE,
    pending=BY_EVIDENCE,
    change=_first_account(BY_EVIDENCE),
)

ACCOUNTS_FROM_EVIDENCE = Backfill(
    name="accounts-from-evidence",
    help="Guessed accounts are replaced by the one that payload or response names, or the only one.",
    table=TABLE,
    pending=GUESSED,
    change=FILL_FROM_EVIDENCE,
    undo=ACCOUNTS_FROM_EVIDENCE_UNDO,
)

# The same statements, for SQL scripts of the migrations that call these functions.
FILL_ACCOUNTS_SQL = (
    refusal(
        f"EXISTS (SELECT {FROM_WITHOUT_ACCOUNT})",
        "There are submissions of providers without an account: add one for each provider first.",
    ),
    FIRST_ACCOUNT.sql,
)
CLEAR_GUESSED_ACCOUNTS_SQL = (range_script(TABLE, pending=GUESSED, change=CLEAR),)
MARK_EVIDENCE_AS_GUESSES_SQL = (range_script(TABLE, pending=BY_EVIDENCE, change=MARK_AS_GUESS),)
