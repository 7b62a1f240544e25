"""Files that providers made or people brought: recognised, measured, stored, and recorded as assets.

The type is what the first bytes say. What a provider says of a file (the extension of its address,
its content type) is not used. Files are decoded in confined children only (`pixsim.core.media`).
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from django.utils import timezone

from jobs.errors import BadOutput
from jobs.generation.attempts import Attempt
from jobs.models import Asset, MediaType, OperationType, SyncStatus
from pixsim.core import blobs, media

THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 320, 85

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
MEASURED = ("image/", "audio/wav", "video/mp4")
"""How the types begin that are decoded; of all others only the first bytes are read."""
UNDECODED_TYPE = "application/octet-stream"


class Made(NamedTuple):
    """An attempt that has succeeded, and its files."""

    attempt: Attempt
    files: Sequence[Asset]


def keep(
    data: bytes,
    *,
    operation: str,
    url: str = "",
    provider_asset_id: str | None = None,
    undecoded: str = "",
) -> Asset:
    """Store a file that `operation` made; return its asset, which is not saved yet.

    It is paid for, so it is always kept: as a medium, or else as bytes that nobody decodes, with
    the reason; `undecoded` is such a reason. Slow: pictures are decoded. The same bytes are stored
    once. Raise BadOutput for a file without bytes, media.Unavailable if nothing can be decoded now.
    """
    if not data:
        raise BadOutput("The provider's file is empty.")
    wanted = MADE_BY.get(OperationType(operation), VIDEO)
    signature = _signature(data)
    try:
        if undecoded:
            raise BadOutput(undecoded)
        if signature is None:
            raise BadOutput(f"It is no {wanted.label}: it begins with {data[:16]!r}.")
        if wanted not in signature.media_types:
            raise BadOutput(f"It is {signature.mime_type}, no {wanted.label}.")
        asset = _stored(data, signature, wanted)
    except BadOutput as why:
        asset = _stored_undecoded(data, signature, why=str(why))
    asset.remote_url, asset.provider_asset_id = url, provider_asset_id or ""
    return asset


def keep_upload(data: bytes) -> Asset:
    """Check and store a file that a person brings; return its asset, which is not saved yet.

    Raise BadOutput if it is no medium we know, or cannot be decoded at a reasonable cost;
    media.Unavailable if nothing can be decoded now.
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
    """Decode and store a file. Raise BadOutput, before anything is stored, or media.Unavailable."""
    medium = None
    if signature.mime_type.startswith(MEASURED):
        try:
            medium = media.examine(data, mime_type=signature.mime_type, side=THUMBNAIL_SIDE)
        except media.Undecodable as error:
            raise BadOutput(str(error)) from error
    asset = _file(data, suffix=signature.suffix)
    asset.media_type, asset.mime_type = media_type, signature.mime_type
    if medium is not None:
        asset.width, asset.height, asset.is_upright = medium.width, medium.height, True
        asset.duration_sec = medium.duration_sec
        if medium.small is not None:
            thumbnail = medium.small.as_jpeg(quality=THUMBNAIL_QUALITY)
            asset.thumbnail_url = blobs.put(thumbnail, suffix=".jpg")
            asset.thumbnail_sha256 = PurePosixPath(asset.thumbnail_url).stem
    return asset


def _stored_undecoded(data: bytes, signature: Signature | None, *, why: str) -> Asset:
    """Store a file of which nothing is known but its bytes."""
    asset = _file(data, suffix=signature.suffix if signature else ".bin")
    asset.media_type, asset.mime_type = MediaType.OTHER, UNDECODED_TYPE
    asset.media_metadata = {"undecoded": why}
    return asset


def _file(data: bytes, *, suffix: str) -> Asset:
    sha256 = hashlib.sha256(data).hexdigest()
    return Asset(
        sha256=sha256,
        local_path=blobs.put(data, suffix=suffix, sha256=sha256),
        file_size_bytes=len(data),
        sync_status=SyncStatus.DOWNLOADED,
        downloaded_at=timezone.now(),
    )


def _signature(data: bytes) -> Signature | None:
    for one in SIGNATURES:
        if data[one.offset : one.offset + len(one.magic)] == one.magic:
            return one
    return None
