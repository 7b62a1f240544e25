"""Exporting datasets: the format is chosen by name, and its file appears whole or not at all.

One file in the folder `formats` is a format.
"""

import errno
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import ClassVar

from accounts import activity, tiers
from accounts.models import ActivityLog
from crawler.errors import WrongState
from crawler.export.dataset import Dataset, ExportFailed, LeftOut, Progress, named
from crawler.export.files import slug_of, written_aside
from crawler.models import CrawlJob
from pixsim.core.plugins import plugin_classes
from pixsim.core.private import make_folder
from pixsim.core.text import path_text

DEFAULT_FORMAT = "class-folders"


class Exporter(ABC):
    """A format: how a dataset becomes one file. A module in the folder `formats` defines one."""

    name: ClassVar[str]
    title: ClassVar[str]
    suffix: ClassVar[str] = ".zip"

    @abstractmethod
    def write(self, dataset: Dataset, path: Path) -> None:
        """Write the dataset to a new file; the same dataset must give the same bytes.

        What `Dataset.pictures` raises must pass through: nothing is published then.
        """


@dataclass(frozen=True)
class Export:
    """A published file: how many images are in it, how many per class, and its size in bytes.

    `left_out` names the images whose files could not be used.
    """

    path: Path
    images: int
    classes: dict[str, int]
    size: int
    left_out: tuple[LeftOut, ...] = ()

    def __str__(self) -> str:
        """Return where it is, and what is not in it."""
        text = f"Exported to {path_text(self.path)}"
        if self.left_out:
            text += f"\nLeft out, {len(self.left_out):,} of its images: {named(self.left_out)}."
        return text


@dataclass(frozen=True)
class Published:
    """The newest export of a job, as it was recorded. `is_here` says whether this machine has it."""

    path: Path
    size: int
    at: datetime

    @property
    def is_here(self) -> bool:
        return self.path.is_file()


def newest_export(job_id: int) -> Published | None:
    """Return the last file to which the job was exported, if it was."""
    log = ActivityLog.objects.filter(
        resource_type="crawl_job", resource_id=str(job_id), action="crawl_job.exported"
    )
    entry = log.order_by("-id").first()
    if entry is None or not entry.metadata:
        return None
    return Published(Path(entry.metadata["path"]), entry.metadata["size"], entry.timestamp)


@cache
def all_formats() -> dict[str, Exporter]:
    """Return every format by its name."""
    found = (each() for each in plugin_classes("crawler.export.formats", Exporter))
    return {format.name: format for format in sorted(found, key=lambda each: each.name)}


def export_job(
    *,
    job_id: int,
    folder: Path,
    format: str = DEFAULT_FORMAT,
    keep_metadata: bool = False,
    on_progress: Progress | None = None,
) -> Export:
    """Write the job's dataset to `<name>-<job id>` in `folder`, replacing an earlier export.

    Near duplicates are left out; JPEG, PNG and WebP files lose what was written about them (EXIF,
    comments) unless `keep_metadata`. Images are read in pages, with no lock and no long
    transaction, so a job that still runs can be exported: what it stores meanwhile may or may not
    be in it. An image whose file is missing, damaged or such that its metadata cannot be taken out
    is left out and named, here and in the file.

    Raise WrongState if there is no such job, FeatureRefused if its owner's tier does not export,
    and ExportFailed if there is no such format, if the
    job has no images or none that can be used, or if the file cannot be written.
    Nothing is published then.
    """
    job = CrawlJob.objects.select_related("project__owner").filter(pk=job_id).first()
    if job is None:
        raise WrongState(f"There is no crawl job {job_id}.")
    tiers.require_feature(job.project.owner, "export")
    exporter = all_formats().get(format)
    if exporter is None:
        raise ExportFailed(f"There is no format {format!r}; there are: {', '.join(all_formats())}.")
    path = folder / f"{slug_of(job.name) or 'dataset'}-{job.pk}{exporter.suffix}"
    dataset = Dataset(job, keep_metadata=keep_metadata, on_progress=on_progress)
    try:
        make_folder(folder)
        with written_aside(path) as aside:
            exporter.write(dataset, aside)
        size = path.stat().st_size
    except OSError as error:
        reason = "no space is left there" if error.errno == errno.ENOSPC else error.strerror
        raise ExportFailed(
            f"Crawl job {job_id} was not exported to {path_text(folder)}: {reason or error}."
        ) from error
    images = sum(dataset.classes.values())
    activity.record_change(
        "crawl_job", job_id, "exported", actor=None, path=path_text(path.resolve()), size=size,
        images=images,
    )  # fmt: skip
    return Export(path, images, dict(dataset.classes), size, tuple(dataset.left_out))
