"""What the demo generates: a picture, an animation of that picture, and a song."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from demo.processes import short
from jobs import services
from jobs.management.generations import sentence
from jobs.models import Asset, Job
from pixsim.core import blobs
from pixsim.core.cli.progress import Display, wait_until_ended

SECONDS = 60.0
"""So long after the crawl a generation may go on."""
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
    # `local` needs no key, and makes the same file of the same seed.
    system: dict[str, Any] = {"owner": None, "provider": "local"}
    picture = services.create_job(**system, **PICTURE)
    animation = services.create_job(**system, parent=picture, **ANIMATION)
    return [picture, animation, services.create_job(**system, **SONG)]


def wait_for(jobs: list[Job], check: Callable[[], None]) -> None:
    """Until all have ended; what has not after SECONDS is told of as it is then."""

    def have_ended() -> bool:
        check()
        for job in jobs:
            job.refresh_from_db()
        return not any(job.status in ("pending", "processing") for job in jobs)

    wait_until_ended(have_ended, ended=bool, display=Display(), timeout=SECONDS)


def show(console: Console, jobs: list[Job], folder: Path) -> bool:
    """A line for each job, with its file, which is copied to `folder`; whether all were completed."""
    all_made = True
    for job in jobs:
        name = f"{(job.name or '').capitalize()}:"
        if job.status == "completed" and job.asset is not None:
            key = job.asset.local_path or ""
            file = folder / f"{job.name}{Path(key).suffix}"
            with blobs.open_blob(key) as blob:
                file.write_bytes(blob.read())
            console.print(f"{name:14} {short(file)} ({_about(job.asset)})", soft_wrap=True)
        else:
            all_made = False
            console.print(f"{name:14} {sentence(job)}", style="red", markup=False, soft_wrap=True)
    return all_made


def _about(asset: Asset) -> str:
    """Type, size and duration, as in `image/gif, 320x320, 1.6 MB, 1.9 s`."""
    parts = [asset.mime_type or "of no known type"]
    if asset.width:
        parts.append(f"{asset.width}x{asset.height}")
    parts.append(f"{(asset.file_size_bytes or 0) / 1024**2:.1f} MB")
    if asset.duration_sec:
        parts.append(f"{asset.duration_sec:.1f} s")
    return ", ".join(parts)
