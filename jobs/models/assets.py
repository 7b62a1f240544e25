"""Assets: media files that jobs made or people brought."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex, column_indexes
from pixsim.core.formats import format_duration, format_size


class MediaType(models.TextChoices):
    VIDEO = "video", "video"
    IMAGE = "image", "image"
    AUDIO = "audio", "audio"
    MODEL_3D = "model_3d", "3D model"


class ContentDomain(models.TextChoices):
    GENERAL = "general", "general"
    ADULT = "adult", "adult"
    MEDICAL = "medical", "medical"
    SPORTS = "sports", "sports"
    FASHION = "fashion", "fashion"
    EDUCATION = "education", "education"


class SyncStatus(models.TextChoices):
    """Where the file is."""

    REMOTE = "remote", "at the provider"
    DOWNLOADING = "downloading", "downloading"
    DOWNLOADED = "downloaded", "here"
    ERROR = "error", "error"


class Asset(models.Model):
    """A media file, its owner, its place and its origin."""

    user = NamedForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="assets")
    sha256 = models.CharField(max_length=64, null=True, blank=True)
    media_type = models.CharField(max_length=20, choices=MediaType)
    provider_id = models.CharField(max_length=64)
    provider_asset_id = models.CharField(max_length=128)
    provider_account = NamedForeignKey(
        "providers.ProviderAccount", models.PROTECT, null=True, blank=True, related_name="assets"
    )
    provider_uploads = models.JSONField(
        null=True, blank=True, help_text="The file's id at other providers, by provider."
    )
    remote_url = models.CharField()
    thumbnail_url = models.CharField(null=True, blank=True)
    thumbnail_sha256 = models.CharField(max_length=64, null=True, blank=True, editable=False)
    local_path = models.CharField(max_length=512, null=True, blank=True)
    mime_type = models.CharField(max_length=64, null=True, blank=True)
    width = models.IntegerField(null=True, blank=True)
    height = models.IntegerField(null=True, blank=True)
    duration_sec = models.FloatField(null=True, blank=True)
    file_size_bytes = models.BigIntegerField(null=True, blank=True)
    fps = models.FloatField(null=True, blank=True)
    image_hash = models.CharField(max_length=64, null=True, blank=True)
    phash64 = models.BigIntegerField(
        null=True, blank=True, help_text="64-bit perceptual hash, as signed integer."
    )
    description = models.CharField(null=True, blank=True)
    tags = models.JSONField(null=True, blank=True)
    style_tags = models.JSONField(null=True, blank=True)
    content_domain = models.CharField(
        max_length=20, choices=ContentDomain, db_default=ContentDomain.GENERAL.value
    )
    content_category = models.CharField(max_length=64, null=True, blank=True)
    content_taxonomy = models.JSONField(null=True, blank=True)
    content_rating = models.CharField(max_length=32, db_default="general")
    age_restricted = models.BooleanField(db_default=False)
    searchable = models.BooleanField(db_default=True)
    original_source_url = models.CharField(null=True, blank=True)
    upload_method = models.CharField(max_length=32, null=True, blank=True)
    media_metadata = models.JSONField(null=True, blank=True)
    sync_status = models.CharField(
        max_length=20, choices=SyncStatus, db_default=SyncStatus.REMOTE.value
    )
    source_job = NamedForeignKey(
        "jobs.Job", models.SET_NULL, null=True, blank=True, related_name="made_assets"
    )
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    downloaded_at = models.DateTimeField(null=True, blank=True)
    last_accessed_at = models.DateTimeField(db_default=TransactionNow())

    class Meta:
        db_table = "assets"
        indexes = [
            NamedIndex(
                fields=["provider_id", "provider_asset_id"], name="idx_asset_provider_lookup"
            ),
            NamedIndex(fields=["sync_status", "media_type"], name="idx_asset_sync_media"),
            NamedIndex(fields=["user", "created_at"], name="idx_asset_user_created"),
            *column_indexes(
                "assets",
                "age_restricted content_category content_domain content_rating created_at image_hash "
                "last_accessed_at phash64 provider_asset_id provider_id searchable sha256 sync_status",
                keys="provider_account source_job user",
            ),
            # The sweep of blobs asks which thumbnails are in use.
            NamedIndex(
                fields=["thumbnail_sha256"],
                name="ix_assets_thumbnail_sha256",
                condition=Q(thumbnail_sha256__isnull=False),
            ),
        ]
        constraints = [
            # Per owner; in the older system two owners could not have the same file.
            models.UniqueConstraint(fields=["user", "sha256"], name="uq_assets_user_sha256"),
            *checks(
                "assets",
                media_type_valid=Q(media_type__in=MediaType.values),
                content_domain_valid=Q(content_domain__in=ContentDomain.values),
                sync_status_valid=Q(sync_status__in=SyncStatus.values),
            ),
        ]

    def __str__(self) -> str:
        return self.description or f"{self.media_type} {self.pk}"

    @property
    def measures(self) -> str:
        """Return pixels, length and bytes in words, as far as they are known."""
        parts = []
        if self.width and self.height:
            parts.append(f"{self.width:,} × {self.height:,}")
        if self.duration_sec:
            parts.append(format_duration(self.duration_sec))
        if self.file_size_bytes is not None:
            parts.append(format_size(self.file_size_bytes))
        return ", ".join(parts)
