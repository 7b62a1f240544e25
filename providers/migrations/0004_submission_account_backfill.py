"""Every submission gets an account: the first (lowest id) of its provider, marked as a guess.

Which account really made it was not recorded, so the row says `account_source = 'backfill'`.
If a provider has submissions and no account, nothing is written and the migration stops with the
list of such providers.

Lock: row locks only, in ranges of keys that take about 0.2 s each, every one its own transaction.
It may be stopped at any time; the next `migrate` goes on where it stopped.
Back: empties exactly the rows that are marked as guessed.
"""

from django.db import migrations

from pixsim.core.db.backfill import migration_step
from providers.backfills import (
    CLEAR_GUESSED_ACCOUNTS_SQL,
    FILL_ACCOUNTS_SQL,
    clear_guessed_accounts,
    fill_accounts,
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("providers", "0003_submission_account")]

    operations = [
        migrations.RunPython(
            migration_step(fill_accounts, sql=FILL_ACCOUNTS_SQL),
            migration_step(clear_guessed_accounts, sql=CLEAR_GUESSED_ACCOUNTS_SQL),
        )
    ]
