"""How often the files of a submission were asked for again: polls before its end do not count.

Lock: ACCESS EXCLUSIVE on provider_submissions for an instant; a constant default rewrites nothing.
Back: drops the column.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0013_submission_cost")]

    operations = [
        migrations.AddField(
            model_name="providersubmission",
            name="fetches",
            field=models.IntegerField(
                db_default=0,
                help_text="How often somebody came back for its files.",
            ),
        ),
    ]
