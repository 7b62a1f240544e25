"""Room for the account that made a submission, and for how we know it.

Existing rows stay empty until 0004 fills them. New rows are 'recorded' unless they say otherwise;
the default is set after the columns are added, so that no existing row claims to be.

Lock: ACCESS EXCLUSIVE on provider_submissions for a moment; the CHECK is not validated here, where
every row is empty, but holds for what is written from now on.
Back: drops both columns, and with them which account made each submission.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

SOURCES = [("recorded", "recorded"), ("backfill", "guessed by the backfill")]


class Migration(migrations.Migration):
    dependencies = [("providers", "0002_submissions")]

    operations = [
        migrations.AddField(
            model_name="providersubmission",
            name="account",
            field=models.ForeignKey(
                null=True,
                db_constraint=False,
                db_index=False,
                on_delete=models.PROTECT,
                related_name="submissions",
                to="providers.provideraccount",
            ),
        ),
        migrations.AddField(
            model_name="providersubmission",
            name="account_source",
            field=models.CharField(choices=SOURCES, max_length=20, null=True),
        ),
        migrations.AlterField(
            model_name="providersubmission",
            name="account_source",
            field=models.CharField(
                choices=SOURCES, db_default="recorded", max_length=20, null=True
            ),
        ),
        AddConstraintNotValid(
            model_name="providersubmission",
            constraint=models.CheckConstraint(
                name="ck_provider_submissions_account_source_valid",
                condition=Q(account_source__in=["recorded", "backfill"]),
            ),
        ),
    ]
