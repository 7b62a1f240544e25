"""Files that providers made or people brought: recognised, measured, stored, and recorded as assets.

The type is what the first bytes say. What a provider says of a file (the extension of its address,
its content type) is not used.
"""

import hashlib
import io
import struct
import wave
from collections.abc import Iterable, Iterator, Sequence
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
    """How files of a type begin, and which media such a file may be."""

    offset: int
    magic: bytes
    suffix: str
    mime_type: str
    media_types: frozenset[MediaType]


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
"""Only types without scripts: the admin shows files of these types inside its pages."""


class Made(NamedTuple):
    """An attempt that has succeeded, and its files."""

    attempt: Attempt
    files: Sequence[Asset]


def keep(
    data: bytes, *, operation: str, url: str = "", provider_asset_id: str | None = None
) -> Asset:
    """Check and store a file that `operation` made; return its asset, which is not saved yet.

    Slow: pictures are decoded. The same bytes are stored once. Raise BadOutput if it is another
    kind of file.
    """
    wanted = MADE_BY.get(OperationType(operation), VIDEO)
    signature = _signature(data)
    if signature is None:
        raise BadOutput(f"The provider's file is no {wanted.label}: it begins with {data[:16]!r}.")
    if wanted not in signature.media_types:
        raise BadOutput(f"The provider's file is {signature.mime_type}, no {wanted.label}.")
    asset = _stored(data, signature, wanted)
    asset.remote_url, asset.provider_asset_id = url, provider_asset_id or ""
    return asset


def keep_upload(data: bytes) -> Asset:
    """Check and store a file that a person brings; return its asset, which is not saved yet.

    Raise BadOutput if it is no medium we know.
    """
    signature = _signature(data)
    if signature is None:
        raise BadOutput(f"It is no picture, video or sound: it begins with {data[:16]!r}.")
    return _stored(data, signature, min(signature.media_types))


def record(made: Sequence[Made]) -> dict[int, Asset]:
    """Save the assets of what jobs made; return the asset of each job's first file, by job.

    If the owner has an asset of the same bytes, that asset takes the place of the new one.
    """
    for attempt, files in made:
        job, submission = attempt.job, attempt.submission
        for number, asset in enumerate(files):
            name = asset.provider_asset_id or f"{submission.reference}-{number}"
            asset.provider_asset_id = name[:128]
            asset.user_id, asset.provider_id = job.user_id, job.provider_id
            asset.source_job_id = job.pk
            asset.provider_account_id = submission.account_id
            asset.upload_method = "generated"
    rows = _saved(asset for one in made for asset in one.files)
    return {one.attempt.job.pk: rows[_key(one.files[0])] for one in made}


def record_upload(asset: Asset, *, user_id: int, name: str) -> Asset:
    """Save the asset of a file that a person brought, or return theirs of the same bytes."""
    asset.user_id, asset.provider_id, asset.provider_asset_id = (
        user_id,
        "upload",
        asset.sha256 or "",
    )
    asset.upload_method, asset.description = "upload", name
    return _saved([asset])[_key(asset)]


def _key(asset: Asset) -> tuple[int, str | None]:
    return asset.user_id, asset.sha256


def _saved(assets: Iterable[Asset]) -> dict[tuple[int, str | None], Asset]:
    """Save the assets; return them by owner and sha256. Of equal ones the first is saved."""
    rows: dict[tuple[int, str | None], Asset] = {}
    for asset in assets:
        asset.pk = None  # a transaction before this one may have been rolled back
        rows.setdefault(_key(asset), asset)
    Asset.objects.bulk_create(
        [rows[key] for key in sorted(rows, key=str)],  # all transactions lock in one order
        update_conflicts=True,  # returns the key of the row that is there
        unique_fields=["user", "sha256"],
        update_fields=["last_accessed_at"],
    )
    return rows


def _stored(data: bytes, signature: Signature, media_type: MediaType) -> Asset:
    measures = _measure(data, signature.mime_type)
    if picture := measures.pop("thumbnail", None):
        measures["thumbnail_url"] = key = blobs.put(picture, suffix=".jpg")
        measures["thumbnail_sha256"] = PurePosixPath(key).stem
    sha256 = hashlib.sha256(data).hexdigest()
    return Asset(
        sha256=sha256,
        media_type=media_type,
        local_path=blobs.put(data, suffix=signature.suffix, sha256=sha256),
        mime_type=signature.mime_type,
        file_size_bytes=len(data),
        sync_status=SyncStatus.DOWNLOADED,
        downloaded_at=timezone.now(),
        **measures,
    )


def _signature(data: bytes) -> Signature | None:
    for one in SIGNATURES:
        if data[one.offset : one.offset + len(one.magic)] == one.magic:
            return one
    return None


def _measure(data: bytes, mime_type: str) -> dict[str, Any]:
    """Return the columns of an asset that say how large and how long it is, and a thumbnail."""
    try:
        if mime_type.startswith("image/"):
            return _measure_picture(data)
        if mime_type == "audio/wav":
            with wave.open(io.BytesIO(data)) as sound:
                return {"duration_sec": sound.getnframes() / sound.getframerate()}
        if mime_type == "video/mp4":
            return _measure_mp4(data)
    except BadOutput:
        raise
    except Exception as error:  # decoders raise anything on untrusted bytes
        raise BadOutput(f"The {mime_type} cannot be read: {error}") from error
    return {}


def _measure_picture(data: bytes) -> dict[str, Any]:
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
    return {
        "width": width,
        "height": height,
        "duration_sec": milliseconds / 1000 if frames > 1 else None,
        "thumbnail": buffer.getvalue(),
    }


def _measure_mp4(data: bytes) -> dict[str, Any]:
    """Read the boxes `moov/mvhd` and `moov/trak/tkhd` (ISO 14496-12)."""
    duration = width = height = None
    for name, body in _boxes(memoryview(data), ("moov", "trak")):
        if name == "mvhd":
            wide = body[0] == 1
            scale, length = struct.unpack_from(">IQ" if wide else ">II", body, 20 if wide else 12)
            duration = length / scale if scale else None
        elif name == "tkhd" and not width:
            across, down = struct.unpack_from(">II", body, len(body) - 8)
            width, height = across >> 16 or None, down >> 16 or None
    return {"width": width, "height": height, "duration_sec": duration}


def _boxes(data: memoryview, entered: Sequence[str]) -> Iterator[tuple[str, memoryview]]:
    """Yield name and body of each box; enter the boxes named by `entered`, one name per level."""
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
