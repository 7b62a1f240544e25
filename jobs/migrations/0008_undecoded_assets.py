"""An asset may be a file that nobody decodes: media type `other`.

What a provider was paid for is kept when it is damaged, too costly to decode, or of an unknown type.
Code from before writes no such row, and shows one as a download.

Lock: ACCESS EXCLUSIVE on assets for an instant, twice; the new check is added NOT VALID and validated
while others write. Stopped midway, it goes on where it was. Back: the earlier check is added and
validated, which fails, naming the constraint, while assets of the type `other` exist: give them
another type, or delete them, and run it again.
"""

from django.db import migrations, models
from django_pg_migration_tools.operations import (
    SaferAddCheckConstraint,
    SaferRemoveCheckConstraint,
)

MEDIA_TYPES = ["video", "image", "audio", "model_3d", "other"]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0007_rollups")]

    operations = [
        migrations.AlterField(
            model_name="asset",
            name="media_type",
            field=models.CharField(
                choices=[
                    ("video", "video"),
                    ("image", "image"),
                    ("audio", "audio"),
                    ("model_3d", "3D model"),
                    ("other", "undecoded file"),
                ],
                max_length=20,
            ),
        ),
        SaferRemoveCheckConstraint(model_name="asset", name="ck_assets_media_type_valid"),
        SaferAddCheckConstraint(
            model_name="asset",
            constraint=models.CheckConstraint(
                condition=models.Q(("media_type__in", MEDIA_TYPES)),
                name="ck_assets_media_type_valid",
            ),
        ),
    ]
