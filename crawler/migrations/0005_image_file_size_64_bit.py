"""File sizes become 64-bit.

Lock: ACCESS EXCLUSIVE on images while PostgreSQL rewrites the table: plan a window when it has
millions of rows. Back: the same; refused by PostgreSQL if a size exceeds 32 bits.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crawler", "0004_sources_and_candidates")]

    operations = [
        migrations.AlterField(
            model_name="image",
            name="file_size",
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
