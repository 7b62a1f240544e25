"""`assets.file_size_bytes` becomes 64-bit: a video may be larger than 2 GiB.

Lock: ACCESS EXCLUSIVE on assets while PostgreSQL rewrites the table and its indexes, roughly ten
seconds per million rows: plan a window with millions of rows. Back: the same rewrite; refused by
PostgreSQL ("integer out of range") while a file larger than 2,147,483,647 bytes is recorded.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("jobs", "0004_file_size_bigint"),
    ]

    dependencies = [
        ("jobs", "0003_columns"),
    ]

    operations = [
        migrations.AlterField(
            model_name="asset",
            name="file_size_bytes",
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
