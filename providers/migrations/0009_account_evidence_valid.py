"""Every `account_source` that is there is one of the four that 0008 allows.

Lock: SHARE UPDATE EXCLUSIVE on provider_submissions while it is read once; nobody waits for it.
Back: submissions whose account was found out from evidence keep it, marked as a guess, in ranges
of keys; `manage.py db backfill run accounts-from-evidence` finds it out again after coming back.
"""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

from pixsim.core.db.backfill import migration_step
from providers.backfills import MARK_EVIDENCE_AS_GUESSES_SQL, mark_evidence_as_guesses


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("providers", "0008_account_evidence")]

    operations = [
        migrations.RunPython(
            migrations.RunPython.noop,
            migration_step(mark_evidence_as_guesses, sql=MARK_EVIDENCE_AS_GUESSES_SQL),
        ),
        ValidateConstraint("providersubmission", "ck_provider_submissions_account_source_valid"),
    ]
