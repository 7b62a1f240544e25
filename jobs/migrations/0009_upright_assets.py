"""Assets say whether their width and height are those of the upright picture.

Why no migration reads the files: `crawler.0011_upright_images`. `manage.py db backfill run upright-assets` looks at the rows that are here.

Lock: ACCESS EXCLUSIVE on assets for an instant; nothing is rewritten. Back: drops the column; what the
backfill has set right stays.
Breaks: nothing; rows that code of the release before inserts are null and wait for the backfill.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0008_undecoded_assets")]

    operations = [
        migrations.AddField(
            model_name="asset",
            name="is_upright",
            field=models.BooleanField(
                editable=False,
                help_text="Width and height are those of the upright picture; null: perhaps not.",
                null=True,
            ),
        ),
    ]
