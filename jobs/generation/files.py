"""A file that a provider made: known by its first bytes, measured, kept, and an asset of its owner.

What a provider says of a file (its address's extension, its content type) is not believed.
"""

from __future__ import annotations

import hashlib
import io
import struct
import wave
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from django.utils import timezone

from jobs.errors import BadOutput
from jobs.generation.attempts import Attempt
from jobs.models import Asset, MediaType, OperationType, SyncStatus
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


class Signature(NamedTuple):
    """How files of a type begin, and what such a file may be."""

    offset: int
    magic: bytes
    suffix: str
    mime_type: str
    kinds: frozenset[MediaType]


PICTURE, MOVING, FILM, SOUND = map(frozenset, ({IMAGE}, {IMAGE, VIDEO}, {VIDEO}, {AUDIO}))
SIGNATURES = (
    Signature(0, b"\x89PNG\r\n\x1a\n", ".png", "image/png", MOVING),
    Signature(0, b"\xff\xd8\xff", ".jpg", "image/jpeg", PICTURE),
    Signature(0, b"GIF8", ".gif", "image/gif", MOVING),
    Signature(8, b"WEBP", ".webp", "image/webp", MOVING),
    Signature(8, b"WAVE", ".wav", "audio/wav", SOUND),
    Signature(4, b"ftypM4A", ".m4a", "audio/mp4", SOUND),
    Signature(4, b"ftyp", ".mp4", "video/mp4", FILM),
    Signature(0, b"\x1aE\xdf\xa3", ".webm", "video/webm", FILM),
    Signature(0, b"ID3", ".mp3", "audio/mpeg", SOUND),
    Signature(0, b"\xff\xfb", ".mp3", "audio/mpeg", SOUND),
    Signature(0, b"\xff\xf3", ".mp3", "audio/mpeg", SOUND),
    Signature(0, b"fLaC", ".flac", "audio/flac", SOUND),
    Signature(0, b"OggS", ".ogg", "audio/ogg", SOUND),
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


class Made(NamedTuple):
    """An attempt that has succeeded, and its files."""

    attempt: Attempt
    files: Sequence[MediaFile]


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
    signature = _signature(data)
    if signature is None:
        raise BadOutput(f"The provider's file is no {wanted.label}: it begins with {data[:16]!r}.")
    if wanted not in signature.kinds:
        raise BadOutput(f"The provider's file is {signature.mime_type}, no {wanted.label}.")
    return _kept(data, signature, wanted, url=url, provider_asset_id=provider_asset_id)


def keep_upload(data: bytes) -> MediaFile:
    """Check and store a file that a person brings. Raises BadOutput if it is no medium we know."""
    signature = _signature(data)
    if signature is None:
        raise BadOutput(f"It is no picture, video or sound: it begins with {data[:16]!r}.")
    return _kept(data, signature, min(signature.kinds))


def record(made: Sequence[Made]) -> dict[int, Asset]:
    """Make the owners' assets of what jobs made; by job, the asset of its first file.

    Each is a new row, or the one that the owner has of the same bytes.
    """
    assets = [
        (
            attempt.job.pk,
            _asset(
                file,
                user_id=attempt.job.user_id,
                provider_id=attempt.job.provider_id,
                provider_asset_id=(
                    file.provider_asset_id or f"{attempt.submission.reference}-{number}"
                )[:128],
                provider_account_id=attempt.submission.account_id,
                upload_method="generated",
                source_job_id=attempt.job.pk,
            ),
        )
        for attempt, files in made
        for number, file in enumerate(files)
    ]
    rows = _recorded(asset for _job_id, asset in assets)
    return {job_id: rows[asset.user_id, asset.sha256] for job_id, asset in reversed(assets)}


def record_upload(file: MediaFile, *, user_id: int, name: str) -> Asset:
    """The person's asset of a file that they brought, or the one they have of the same bytes."""
    asset = _asset(
        file,
        user_id=user_id,
        provider_id="upload",
        provider_asset_id=file.sha256,
        upload_method="upload",
        description=name,
    )
    return _recorded([asset])[user_id, file.sha256]


def _asset(file: MediaFile, **values: Any) -> Asset:
    return Asset(
        sha256=file.sha256,
        media_type=file.media_type,
        remote_url=file.url,
        local_path=file.key,
        thumbnail_url=file.thumbnail,
        thumbnail_sha256=PurePosixPath(file.thumbnail).stem if file.thumbnail else None,
        mime_type=file.mime_type,
        width=file.width,
        height=file.height,
        duration_sec=file.duration,
        file_size_bytes=file.size,
        sync_status=SyncStatus.DOWNLOADED,
        downloaded_at=timezone.now(),
        **values,
    )


def _recorded(assets: Iterable[Asset]) -> dict[tuple[int, str | None], Asset]:
    """The rows of these files, by owner and sha256; the first of equal ones is written."""
    rows: dict[tuple[int, str | None], Asset] = {}
    for asset in assets:
        rows.setdefault((asset.user_id, asset.sha256), asset)
    Asset.objects.bulk_create(
        [rows[key] for key in sorted(rows, key=str)],  # all transactions lock in one order
        update_conflicts=True,  # the row that is there comes back
        unique_fields=["user", "sha256"],
        update_fields=["last_accessed_at"],
    )
    return rows


def _kept(
    data: bytes,
    signature: Signature,
    media_type: MediaType,
    *,
    url: str = "",
    provider_asset_id: str | None = None,
) -> MediaFile:
    look = _look_at(data, signature.mime_type)
    sha256 = hashlib.sha256(data).hexdigest()
    return MediaFile(
        key=blobs.put(data, suffix=signature.suffix, sha256=sha256),
        sha256=sha256,
        media_type=media_type,
        mime_type=signature.mime_type,
        size=len(data),
        width=look.width,
        height=look.height,
        duration=look.duration,
        thumbnail=blobs.put(look.thumbnail, suffix=".jpg") if look.thumbnail else None,
        url=url,
        provider_asset_id=provider_asset_id,
    )


def _signature(data: bytes) -> Signature | None:
    for one in SIGNATURES:
        if data[one.offset : one.offset + len(one.magic)] == one.magic:
            return one
    return None


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
        raise BadOutput(f"The {mime_type} cannot be read: {error}") from error
    return _Look()


def _look_at_picture(data: bytes) -> _Look:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BadOutput(f"The picture of {width}x{height} is larger than allowed.")
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
    for name, body in _boxes(memoryview(data), ("moov", "trak")):
        if name == "mvhd":
            wide = body[0] == 1
            scale, length = struct.unpack_from(">IQ" if wide else ">II", body, 20 if wide else 12)
            duration = length / scale if scale else None
        elif name == "tkhd" and not width:
            across, down = struct.unpack_from(">II", body, len(body) - 8)
            width, height = across >> 16 or None, down >> 16 or None
    return _Look(width, height, duration)


def _boxes(data: memoryview, entered: Sequence[str]) -> Iterator[tuple[str, memoryview]]:
    """Name and body of each box, and of those inside the ones to be `entered`, level by level."""
    position = 0
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
            head = 16
        end = position + size if size else len(data)
        if size and size < head:
            raise BadOutput("The video is damaged.")
        body = data[position + head : end]
        label = name.decode("latin-1")
        if label in entered[:1]:
            yield from _boxes(body, entered[1:])
        else:
            yield label, body
        position = end
