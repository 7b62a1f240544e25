"""Exporting a crawl job's images as one archive.

The layout is Hugging Face's imagefolder: class folders, and `metadata.jsonl` with one line per
image: `sha256` is the image's as it was fetched, `file_sha256` that of the file in the archive.
Beside it stand `ATTRIBUTION.csv` (whom to name), `manifest.json` (what was asked for, what
was stored, what was refused and why) and `checksums.sha256`.
"""

import csv
import errno
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.errors import WrongState
from crawler.export.archive import Archive
from crawler.export.errors import ExportFailed
from crawler.export.layout import ClassFolders, archive_name, default_label, file_name
from crawler.export.metadata import STRIPPED_FORMATS, Malformed, strip_metadata
from crawler.export.publishing import written_aside
from crawler.models import CrawlJob, Image
from pixsim.core import blobs
from pixsim.core.blobs.keys import is_key

TOOL = "PixSim export 1"
"""The layout's version: another one gives other bytes for the same dataset."""
PAGE_SIZE = 500
SHOWN_PROBLEMS = 5

PROVENANCE = (
    "source",
    "source_id",
    "landing_page",
    "title",
    "creator",
    "licence",
    "licence_url",
    "attribution",
)
ATTRIBUTION = (
    "file_name",
    "title",
    "creator",
    "licence",
    "licence_url",
    "attribution",
    "landing_page",
    "url",
)

Progress = Callable[[int, int], None]
"""Called with the images done and their total."""


@dataclass(frozen=True)
class Export:
    """A published archive: `images` in it, how many per class label, and its size in bytes."""

    path: Path
    images: int
    classes: dict[str, int]
    size: int


def export_job(
    *, job_id: int, folder: Path, keep_metadata: bool = False, on_progress: Progress | None = None
) -> Export:
    """Write the job's dataset to `<name>-<job id>.zip` in `folder`, replacing an earlier export.

    The same dataset gives the same bytes. Near duplicates are left out; JPEG, PNG and WebP files
    lose what was written about them (EXIF, comments) unless `keep_metadata`. Images are read in
    pages, with no lock and no long transaction, so a job that still runs can be exported: what it
    stores meanwhile may or may not be in it.

    Raises WrongState if there is no such job, and ExportFailed if it has no images, if any stored
    file is missing or damaged, or if the archive cannot be written. Nothing is published then.
    """
    job = CrawlJob.objects.filter(pk=job_id).first()
    if job is None:
        raise WrongState(f"There is no crawl job {job_id}.")
    path = folder / archive_name(job)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside, Archive(aside) as archive:
            writer = _Writer(job, archive, keep_metadata=keep_metadata)
            writer.write(on_progress)
        return Export(path, writer.images, dict(writer.folders.counts), path.stat().st_size)
    except OSError as error:
        reason = "no space is left there" if error.errno == errno.ENOSPC else error.strerror
        raise ExportFailed(
            f"Crawl job {job_id} was not exported to {folder}: {reason or error}."
        ) from error


class _Unusable(Exception):
    """An image whose bytes cannot go into the dataset, and why."""


class _Writer:
    """Writes one job into one archive."""

    def __init__(self, job: CrawlJob, archive: Archive, *, keep_metadata: bool) -> None:
        self.job = job
        self.archive = archive
        self.keep_metadata = keep_metadata
        self.folders = ClassFolders(default=default_label(job))
        self.images = 0
        self.problems: list[str] = []
        self.lines = archive.spool()
        self.attribution = archive.spool()

    def write(self, on_progress: Progress | None) -> None:
        total = Image.objects.filter(crawl_job=self.job).in_dataset().count()
        if not total:
            raise ExportFailed(f"Crawl job {self.job.pk} has no images to export.")
        self.attribution.write(_csv_row(ATTRIBUTION))
        for done, image in enumerate(dataset_images(self.job.pk), start=1):
            try:
                self._add(image)
            except _Unusable as problem:
                self.problems.append(f"image {image.pk}: {problem}")
            if on_progress:
                on_progress(done, max(done, total))
        if self.problems:
            raise ExportFailed(self._problems_in_words())
        self.archive.add_spool("metadata.jsonl", self.lines)
        self.archive.add_spool("ATTRIBUTION.csv", self.attribution)
        self.archive.add("manifest.json", _json(self._manifest(), indent=2))

    def _add(self, image: Image) -> None:
        data, sha256 = _stored_bytes(image)
        if not self.keep_metadata:
            try:
                data = strip_metadata(data)
            except Malformed as error:
                raise _Unusable(
                    f"its metadata cannot be taken out ({error}); exporting with metadata leaves "
                    "files as they are"
                ) from error
        if self.problems:
            return  # nothing will be published; the rest is only checked
        label, folder = self.folders.add(image.label)
        name = file_name(
            folder=folder,
            number=image.image_index,
            image_id=image.pk,
            sha256=sha256,
            key=image.storage_url or "",
        )
        row = {
            "file_name": name,
            "label": label,
            "url": image.original_url,
            **_provenance(image),
            "sha256": sha256,
            "file_sha256": self.archive.add(name, data),
            "phash": None if image.phash is None else f"{image.phash & 0xFFFF_FFFF_FFFF_FFFF:016x}",
            "width": image.width,
            "height": image.height,
            "format": image.format,
            "file_size": len(data),
            "index": image.image_index,
            "retrieved_at": image.retrieved_at and image.retrieved_at.isoformat(),
        }
        self.lines.write(_json(row))
        self.attribution.write(_csv_row([row[column] for column in ATTRIBUTION]))
        self.images += 1

    def _manifest(self) -> dict[str, Any]:
        job = self.job
        return {
            "tool": TOOL,
            "job": {
                "id": job.pk,
                "name": job.name,
                "status": job.status,
                "keywords": job.keywords,
                "options": job.options,
                "created_at": job.created_at.isoformat(),
                "completed_at": job.completed_at and job.completed_at.isoformat(),
            },
            "sources": [
                {"kind": kind, "location": location, "label": label}
                for kind, location, label in job.sources.order_by("id").values_list(
                    "kind", "location", "label"
                )
            ],
            "requested": job.max_images,
            "stored": job.valid_images,
            "images": self.images,
            "outcomes": job.outcomes,
            "classes": self.folders.listing(),
            "metadata_removed_from": [] if self.keep_metadata else list(STRIPPED_FORMATS),
        }

    def _problems_in_words(self) -> str:
        shown = "; ".join(self.problems[:SHOWN_PROBLEMS])
        more = len(self.problems) - SHOWN_PROBLEMS
        return (
            f"Crawl job {self.job.pk} was not exported: {len(self.problems)} of its images cannot be "
            f"used. {shown}{f'; and {more} more' if more > 0 else ''}."
        )


def dataset_images(job_id: int) -> Iterator[Image]:
    """The images of a dataset by index, then those without one, in pages of one short query each."""
    images = Image.objects.filter(crawl_job=job_id).in_dataset()
    for key, rows in (
        ("image_index", images.filter(image_index__isnull=False)),
        ("id", images.filter(image_index__isnull=True)),
    ):
        rows = rows.order_by(key)
        page = list(rows[:PAGE_SIZE])
        while page:
            yield from page
            page = list(rows.filter(**{f"{key}__gt": getattr(page[-1], key)})[:PAGE_SIZE])


def _stored_bytes(image: Image) -> tuple[bytes, str]:
    """The stored file and its sha256, which is what the row says. Raises _Unusable."""
    key = image.storage_url or ""
    if not is_key(key):
        raise _Unusable("its file was never stored here")
    try:
        with blobs.open_blob(key) as file:
            data = file.read()
    except FileNotFoundError:
        raise _Unusable(f"its file {key} is missing") from None
    except OSError as error:
        raise _Unusable(f"its file {key} cannot be read ({error.strerror or error})") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != (image.sha256 or sha256):
        raise _Unusable(f"its file {key} is damaged")
    return data, sha256


def _provenance(image: Image) -> dict[str, str | None]:
    known = image.provenance if isinstance(image.provenance, dict) else {}
    return {name: None if known.get(name) is None else str(known[name]) for name in PROVENANCE}


def _json(value: Any, *, indent: int | None = None) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode()


def _csv_row(cells: Any) -> bytes:
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return row.getvalue().encode()


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
