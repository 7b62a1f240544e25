"""Which account made a submission, for submissions that were recorded without it.

SQL only: migrations run it, whatever the models look like by then.
"""

from contextlib import closing
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.core.db.backfill import BackfillRefused, progress_lines, run_in_key_ranges, statement

# The first account of the provider is a guess, and marked as one.
FILL = """
    UPDATE provider_submissions AS submission
    SET account_id = first.account_id, account_source = 'backfill'
    FROM (
        SELECT provider_id, min(id) AS account_id FROM provider_accounts GROUP BY provider_id
    ) AS first
    WHERE submission.id BETWEEN %s AND %s AND submission.account_id IS NULL
        AND first.provider_id = submission.provider_id
"""

CLEAR = """
    UPDATE provider_submissions SET account_id = NULL, account_source = NULL
    WHERE id BETWEEN %s AND %s AND account_source = 'backfill'
"""

WITHOUT_ACCOUNT = """
    SELECT provider_id, count(*), (array_agg(id ORDER BY id))[1:5]
    FROM provider_submissions AS submission
    WHERE account_id IS NULL AND NOT EXISTS (
        SELECT FROM provider_accounts AS account WHERE account.provider_id = submission.provider_id
    )
    GROUP BY provider_id ORDER BY provider_id
"""


@dataclass(frozen=True)
class ProviderWithoutAccount:
    provider_id: str
    submissions: int
    sample_ids: list[int]


class ProvidersWithoutAccount(BackfillRefused):
    """Submissions of these providers cannot be given an account, because there is none."""

    def __init__(self, providers: list[ProviderWithoutAccount]) -> None:
        self.providers = providers
        lines = [
            f"  {provider.provider_id}: {provider.submissions:,} submissions, for example "
            f"{', '.join(map(str, provider.sample_ids))}"
            for provider in providers
        ]
        commands = [
            f"  manage.py provider-account add --provider {provider.provider_id} --email EMAIL "
            "--status disabled"
            for provider in providers
        ]
        super().__init__(
            "\n".join(
                [
                    f"{len(providers)} providers have submissions but no account:",
                    *lines,
                    "These submissions were left as they are. Add an account for each provider "
                    "(disabled, if it is only to stand for the past), then migrate again:",
                    *commands,
                ]
            )
        )


def fill_accounts(connection: BaseDatabaseWrapper) -> int:
    """Give every submission without an account the first account (lowest id) of its provider.

    Such rows are marked `account_source = 'backfill'`. Returns how many were filled; may be run
    again at any time. Raises ProvidersWithoutAccount before anything is written.
    """
    filled = 0
    while True:
        refuse_providers_without_account(connection)
        changed = run_in_key_ranges(
            connection,
            table="provider_submissions",
            pending="account_id IS NULL",
            apply=statement(FILL),
            on_batch=progress_lines(),
        )
        filled += changed
        if not changed:
            return filled


def clear_guessed_accounts(connection: BaseDatabaseWrapper) -> int:
    """Take back what `fill_accounts` did: only rows that are marked as guessed."""
    return run_in_key_ranges(
        connection,
        table="provider_submissions",
        pending="account_source = 'backfill'",
        apply=statement(CLEAR),
        on_batch=progress_lines(),
    )


def refuse_providers_without_account(connection: BaseDatabaseWrapper) -> None:
    """Raise ProvidersWithoutAccount if a submission waits for an account that does not exist."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(WITHOUT_ACCOUNT)
        missing = [ProviderWithoutAccount(*row) for row in cursor.fetchall()]
    if missing:
        raise ProvidersWithoutAccount(missing)
