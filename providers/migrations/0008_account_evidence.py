"""`account_source` may also say 'evidence' and 'only_account', for accounts found out afterwards.

`manage.py db backfill run accounts-from-evidence` writes them; this migration changes no row.

Lock: ACCESS EXCLUSIVE on provider_submissions for a moment; 0009 validates the new CHECK.
Back: the older CHECK. 0009 marks such rows as guesses before that.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

SOURCES = [
    ("recorded", "recorded"),
    ("backfill", "guessed by the backfill"),
    ("evidence", "named in payload or response"),
    ("only_account", "the only account of its provider"),
]
CHECK = "ck_provider_submissions_account_source_valid"


class Migration(migrations.Migration):
    dependencies = [("providers", "0007_defaults")]

    operations = [
        migrations.AlterField(
            model_name="providersubmission",
            name="account_source",
            field=models.CharField(choices=SOURCES, db_default="recorded", max_length=20),
        ),
        migrations.RemoveConstraint("providersubmission", CHECK),
        AddConstraintNotValid(
            model_name="providersubmission",
            constraint=models.CheckConstraint(
                name=CHECK, condition=Q(account_source__in=[source for source, _ in SOURCES])
            ),
        ),
    ]
