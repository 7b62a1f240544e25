"""`images.file_size` becomes 64-bit.

Lock: ACCESS EXCLUSIVE on images while PostgreSQL rewrites the table: plan a window with millions of
rows. Back: the same rewrite; refused by PostgreSQL if a size exceeds 32 bits.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("crawler", "0005_image_file_size_64_bit"),
    ]

    dependencies = [
        ("crawler", "0003_columns"),
    ]

    operations = [
        migrations.AlterField(
            model_name="image",
            name="file_size",
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
