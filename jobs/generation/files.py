"""A file that a provider made: known by its first bytes, measured, kept, and an asset of its owner.

What a provider says of a file (its address's extension, its content type) is not believed.
"""

from __future__ import annotations

import hashlib
import io
import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.utils import timezone

from jobs.errors import BadOutput
from jobs.models import Asset, Job, MediaType, OperationType, SyncStatus
from pixsim.core import blobs

MAX_PIXELS = 100_000_000
MAX_FRAMES = 10_000
THUMBNAIL_SIDE = 320

IMAGE, VIDEO, AUDIO = MediaType.IMAGE, MediaType.VIDEO, MediaType.AUDIO
MADE_BY = {
    OperationType.TEXT_TO_IMAGE: IMAGE,
    OperationType.IMAGE_TO_IMAGE: IMAGE,
    OperationType.SONG: AUDIO,
}
"""What an operation makes; all others make videos."""

# Offset, magic bytes, suffix, MIME type, and what such a file may be.
SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", ".png", "image/png", {IMAGE, VIDEO}),
    (0, b"\xff\xd8\xff", ".jpg", "image/jpeg", {IMAGE}),
    (0, b"GIF8", ".gif", "image/gif", {IMAGE, VIDEO}),
    (8, b"WEBP", ".webp", "image/webp", {IMAGE, VIDEO}),
    (8, b"WAVE", ".wav", "audio/wav", {AUDIO}),
    (4, b"ftypM4A", ".m4a", "audio/mp4", {AUDIO}),
    (4, b"ftyp", ".mp4", "video/mp4", {VIDEO}),
    (0, b"\x1aE\xdf\xa3", ".webm", "video/webm", {VIDEO}),
    (0, b"ID3", ".mp3", "audio/mpeg", {AUDIO}),
    (0, b"\xff\xfb", ".mp3", "audio/mpeg", {AUDIO}),
    (0, b"\xff\xf3", ".mp3", "audio/mpeg", {AUDIO}),
    (0, b"fLaC", ".flac", "audio/flac", {AUDIO}),
    (0, b"OggS", ".ogg", "audio/ogg", {AUDIO}),
)


@dataclass(frozen=True)
class MediaFile:
    """A file that is kept: its blob, and what it is."""

    key: str
    sha256: str
    media_type: str
    mime_type: str
    size: int
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: str | None = None
    """Key of its thumbnail, a JPEG."""
    url: str = ""
    """Where it was fetched."""
    provider_asset_id: str | None = None


@dataclass(frozen=True)
class _Look:
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: bytes | None = None


def keep(
    data: bytes, *, operation: str, url: str = "", provider_asset_id: str | None = None
) -> MediaFile:
    """Check and store a file that `operation` made. Raises BadOutput if it is nothing of the kind.

    Slow: it decodes pictures. Storing twice stores once.
    """
    wanted = MADE_BY.get(OperationType(operation), VIDEO)
    suffix, mime_type = _type_of(data, wanted)
    look = _look_at(data, mime_type)
    sha256 = hashlib.sha256(data).hexdigest()
    return MediaFile(
        key=blobs.put(data, suffix=suffix, sha256=sha256),
        sha256=sha256,
        media_type=wanted,
        mime_type=mime_type,
        size=len(data),
        width=look.width,
        height=look.height,
        duration=look.duration,
        thumbnail=blobs.put(look.thumbnail, suffix=".jpg") if look.thumbnail else None,
        url=url,
        provider_asset_id=provider_asset_id,
    )


def record(file: MediaFile, *, job: Job, account_id: int, reference: str) -> Asset:
    """The owner's asset of this file: a new row, or the one that they have of the same bytes."""
    asset = Asset(
        user_id=job.user_id,
        sha256=file.sha256,
        media_type=file.media_type,
        provider_id=job.provider_id,
        provider_asset_id=(file.provider_asset_id or reference)[:128],
        provider_account_id=account_id,
        remote_url=file.url,
        local_path=file.key,
        thumbnail_url=file.thumbnail,
        thumbnail_sha256=PurePosixPath(file.thumbnail).stem if file.thumbnail else None,
        mime_type=file.mime_type,
        width=file.width,
        height=file.height,
        duration_sec=file.duration,
        file_size_bytes=file.size,
        upload_method="generated",
        sync_status=SyncStatus.DOWNLOADED,
        source_job_id=job.pk,
        downloaded_at=timezone.now(),
    )
    # On a conflict the row that is there comes back.
    (asset,) = Asset.objects.bulk_create(
        [asset],
        update_conflicts=True,
        unique_fields=["user", "sha256"],
        update_fields=["last_accessed_at"],
    )
    return asset


def _type_of(data: bytes, wanted: MediaType) -> tuple[str, str]:
    for offset, magic, suffix, mime_type, kinds in SIGNATURES:
        if data[offset : offset + len(magic)] == magic:
            if wanted not in kinds:
                raise BadOutput(f"The provider's file is {mime_type}, no {wanted.label}.")
            return suffix, mime_type
    raise BadOutput(f"The provider's file is no {wanted.label}: it begins with {data[:16]!r}.")


def _look_at(data: bytes, mime_type: str) -> _Look:
    try:
        if mime_type.startswith("image/"):
            return _look_at_picture(data)
        if mime_type == "audio/wav":
            return _look_at_wav(data)
        if mime_type == "video/mp4":
            return _look_at_mp4(data)
    except BadOutput:
        raise
    except Exception as error:  # whatever a decoder raises on bytes of a stranger
        raise BadOutput(f"The provider's {mime_type} cannot be read: {error}") from error
    return _Look()


def _look_at_picture(data: bytes) -> _Look:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BadOutput(f"The provider's picture of {width}x{height} is larger than allowed.")
        picture.load()
        thumbnail = picture.convert("RGB")
        frames = min(getattr(picture, "n_frames", 1), MAX_FRAMES)
        milliseconds = 0.0
        for frame in range(frames) if frames > 1 else ():
            picture.seek(frame)
            milliseconds += picture.info.get("duration", 0)
    thumbnail.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    thumbnail.save(buffer, "JPEG", quality=85)
    duration = milliseconds / 1000 if frames > 1 else None
    return _Look(width, height, duration, buffer.getvalue())


def _look_at_wav(data: bytes) -> _Look:
    with wave.open(io.BytesIO(data)) as sound:
        return _Look(duration=sound.getnframes() / sound.getframerate())


def _look_at_mp4(data: bytes) -> _Look:
    """Duration and size from the boxes `moov/mvhd` and `moov/trak/tkhd` (ISO 14496-12)."""
    duration = width = height = None
    for name, body in _boxes(data, {"moov", "trak"}):
        if name == "mvhd":
            wide = body[0] == 1
            scale, length = struct.unpack_from(">IQ" if wide else ">II", body, 20 if wide else 12)
            duration = length / scale if scale else None
        elif name == "tkhd" and not width:
            across, down = struct.unpack_from(">II", body, len(body) - 8)
            width, height = across >> 16 or None, down >> 16 or None
    return _Look(width, height, duration)


def _boxes(data: bytes, entered: set[str]) -> Iterator[tuple[str, bytes]]:
    """Name and body of each box, and of those inside the ones to be `entered`."""
    position = 0
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
            head = 16
        end = position + size if size else len(data)
        if size and size < head:
            raise BadOutput("The provider's video is damaged.")
        body = data[position + head : end]
        label = name.decode("latin-1")
        if label in entered:
            yield from _boxes(body, entered)
        else:
            yield label, body
        position = end
