"""Candidates keep their address as it was found, which is what is sent: only the help text changes.

`url_key` stays the sha256 of the canonical spelling. Candidates from before keep the canonical address
that they have.

Lock: none. Back: nothing to do; older code sends what the column holds, too.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crawler", "0008_outcomes")]

    operations = [
        migrations.AlterField(
            model_name="candidate",
            name="url",
            field=models.TextField(
                help_text="A file address, or an http(s) address as it was found: it is sent like this."
            ),
        )
    ]
