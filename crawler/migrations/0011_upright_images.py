"""Images say whether their width, height and hash are those of the upright picture.

Earlier releases stored those of the picture as it is decoded, before it is turned as its file says. What
a file says only its bytes know, and the storage may be far or away, so no migration reads it: rows that
are here stay null, and `manage.py db backfill run upright-images` looks at them while people work.

Lock: ACCESS EXCLUSIVE on images for an instant; nothing is rewritten. Back: drops the column; what the
backfill has set right stays, since the release before reads a width as a width.
Breaks: nothing; rows that code of the release before inserts are null and wait for the backfill.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crawler", "0010_hosts")]

    operations = [
        migrations.AddField(
            model_name="image",
            name="is_upright",
            field=models.BooleanField(
                editable=False,
                help_text="Width, height and hash are those of the upright picture; null: perhaps not.",
                null=True,
            ),
        ),
    ]
