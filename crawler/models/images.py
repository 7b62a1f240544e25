"""An image of a dataset, with its provenance."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex


class ImageQuerySet(models.QuerySet["Image"]):
    def in_dataset(self) -> Self:
        """Return the images that an export contains: all but marked near duplicates."""
        return self.filter(near_duplicate_of__isnull=True)


# Two hashes within distance 3 have one of four 16-bit bands in common. NULL for an image without a
# hash and for a near duplicate. Job and band are one value and the index is not partial: otherwise
# the planner may scan the whole table while its statistics are those of an empty one.
PHASH_BAND_KEYS = tuple(
    "CASE WHEN near_duplicate_of_id IS NULL"
    f" THEN (crawl_job_id::bigint << 16) | ((phash >> {shift}) & 65535) END"
    for shift in (48, 32, 16, 0)
)


class Image(models.Model):
    """A picture stored under its sha256.

    A distinct image has one index of its job (`image_index`, unique). A near duplicate is kept and
    linked to the image that it resembles, and has no index.
    """

    crawl_job = NamedForeignKey("crawler.CrawlJob", models.CASCADE, related_name="images")
    original_url = models.TextField()
    filename = models.CharField(max_length=255)
    storage_url = models.TextField(null=True, blank=True, help_text="Key in the blob storage.")
    width = models.IntegerField(null=True, blank=True)
    height = models.IntegerField(null=True, blank=True)
    file_size = models.BigIntegerField(null=True, blank=True)
    format = models.CharField(max_length=10, null=True, blank=True)
    # Ours from here on.
    chunk = NamedForeignKey("crawler.JobChunk", models.SET_NULL, null=True, related_name="images")
    image_index = models.IntegerField(null=True)
    label = models.CharField(max_length=100, db_default="")
    sha256 = models.CharField(max_length=64, null=True)
    phash = models.BigIntegerField(
        null=True, help_text="64-bit perceptual hash, as signed integer."
    )
    near_duplicate_of = NamedForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="near_duplicates"
    )
    provenance = models.JSONField(
        null=True,
        help_text="source, source_id, landing_page, title, creator, licence, licence_url, attribution.",
    )
    retrieved_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), null=True, editable=False)

    objects = ImageQuerySet.as_manager()

    class Meta:
        db_table = "images"
        indexes = [
            # Foreign keys from rows that are deleted.
            NamedIndex(fields=["chunk"], name="ix_images_chunk_id"),
            NamedIndex(
                fields=["near_duplicate_of"],
                name="ix_images_near_duplicate_of_id",
                condition=Q(near_duplicate_of__isnull=False),
            ),
            # The orphan sweep: whether a row refers to a blob.
            NamedIndex(fields=["sha256"], name="ix_images_sha256"),
            # Keyset pages of a job's images (export, admin).
            NamedIndex(fields=["crawl_job", "id"], name="ix_images_crawl_job_id"),
            *[
                NamedIndex(RawSQL(key, ()), name=f"ix_images_phash_band_{band}")  # noqa: S611
                for band, key in enumerate(PHASH_BAND_KEYS)
            ],
        ]
        constraints = [
            models.UniqueConstraint(fields=["crawl_job", "sha256"], name="uq_images_job_sha256"),
            models.UniqueConstraint(
                fields=["crawl_job", "image_index"], name="uq_images_job_index"
            ),
        ]

    def __str__(self) -> str:
        return self.filename
