"""What the demo generates: a picture, an animation of that picture, and a song."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.models import Asset, Job

PROVIDER = "local"
"""It needs no key, and makes the same file of the same seed."""
SEED = 7

PICTURE: dict[str, Any] = {
    "name": "picture",
    "operation": "text_to_image",
    "params": {"prompt": "dunes under a red evening sky", "seed": SEED},
}
ANIMATION: dict[str, Any] = {
    "name": "animation",
    "operation": "image_to_video",
    "params": {"image": "parent", "motion": "ripple", "max_side": 320, "seed": SEED},
}
SONG: dict[str, Any] = {
    "name": "song",
    "operation": "song",
    "params": {
        "title": "Three chunks in a row",
        "lyrics": "One for the worker\nTwo for the lease\nThree for the picture\nThat sleeps in peace",
        "genre": "folk",
        "seed": SEED,
    },
}


def ask() -> list[Job]:
    """The three jobs; the animation waits for the picture."""
    from jobs import services

    picture = services.create_job(owner=None, provider=PROVIDER, **PICTURE)
    animation = services.create_job(owner=None, provider=PROVIDER, parent=picture, **ANIMATION)
    return [picture, animation, services.create_job(owner=None, provider=PROVIDER, **SONG)]


def all_have_ended(jobs: list[Job]) -> bool:
    """Looks at the jobs as they are in the database now."""
    for job in jobs:
        job.refresh_from_db()
    return not any(job.status in ("pending", "processing") for job in jobs)


def is_made(job: Job) -> bool:
    return job.status == "completed" and job.asset is not None


def keep_file(job: Job, folder: Path) -> Path:
    """Copy what the job made to `folder`, under the job's name."""
    from pixsim.core import blobs

    assert job.asset is not None  # noqa: S101 - for the type checker
    key = job.asset.local_path or ""
    file = folder / f"{job.name}{Path(key).suffix}"
    with blobs.open_blob(key) as blob:
        file.write_bytes(blob.read())
    return file


def about(asset: Asset) -> str:
    """Type, size and duration, as in `image/gif, 320x320, 1.6 MB, 1.9 s`."""
    parts = [asset.mime_type or "of no known type"]
    if asset.width:
        parts.append(f"{asset.width}x{asset.height}")
    parts.append(f"{(asset.file_size_bytes or 0) / 1024**2:.1f} MB")
    if asset.duration_sec:
        parts.append(f"{asset.duration_sec:.1f} s")
    return ", ".join(parts)
