"""A crawl job's dataset as formats read it: the images in order, checked, each with its class."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from crawler.errors import CrawlError
from crawler.fetch.metadata import Malformed, strip_metadata
from crawler.models import CrawlJob, Image
from crawler.public import shown_address
from pixsim.core import blobs

PAGE_SIZE = 500
SHOWN_PROBLEMS = 5
UNLABELLED = "unlabelled"

Progress = Callable[[int, int], None]
"""Called with the number of images done and their total."""


class ExportFailed(CrawlError):
    """Nothing was published; an earlier export in the same place is unchanged."""


class _Unusable(Exception):
    """An image whose bytes cannot go into the dataset, and why."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image whose file cannot go into the dataset, and why."""

    id: int
    index: int | None
    url: str
    reason: str

    def __str__(self) -> str:
        return f"image {self.id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the dataset: its row, its class, the bytes to export, the sha256 of the stored file."""

    image: Image
    label: str
    data: bytes
    sha256: str


class Dataset:
    """The images of one job, without near duplicates. Read them once, with `pictures`.

    `classes` counts the pictures of each class so far, `left_out` names the images without a usable
    file: one of them never keeps the others back.
    """

    def __init__(
        self, job: CrawlJob, *, keep_metadata: bool = False, on_progress: Progress | None = None
    ) -> None:
        self.job = job
        self.keep_metadata = keep_metadata
        self.classes: dict[str, int] = {}
        self.left_out: list[LeftOut] = []
        self._on_progress = on_progress

    def pictures(self) -> Iterator[Picture]:
        """Yield the images by index, then those without one, stripped of metadata unless kept.

        Raise ExportFailed if there are none, or if none of them can be used.
        """
        total = Image.objects.filter(crawl_job=self.job).in_dataset().count()
        if not total:
            raise ExportFailed(f"Crawl job {self.job.pk} has no images to export.")
        only_label = default_label(self.job)
        for done, image in enumerate(dataset_images(self.job.pk), start=1):
            try:
                data, sha256 = self._file_of(image)
            except _Unusable as problem:
                url = shown_address(image.original_url, image.provenance)
                self.left_out.append(LeftOut(image.pk, image.image_index, url, str(problem)))
            else:
                label = image.label or only_label
                self.classes[label] = self.classes.get(label, 0) + 1
                yield Picture(image, label, data, sha256)
            if self._on_progress:
                self._on_progress(done, max(done, total))
        if not self.classes:
            raise ExportFailed(
                f"Crawl job {self.job.pk} was not exported: none of its images can be used. "
                f"{named(self.left_out)}."
            )

    def _file_of(self, image: Image) -> tuple[bytes, str]:
        key = image.storage_url or ""
        if not blobs.is_key(key):
            raise _Unusable("its file was never stored here")
        try:
            with blobs.open_blob(key) as file:
                data: bytes = file.read()
        except FileNotFoundError:
            raise _Unusable(f"its file {key} is missing") from None
        except OSError as error:
            raise _Unusable(f"its file {key} cannot be read ({error.strerror or error})") from error
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != (image.sha256 or sha256):
            raise _Unusable(f"its file {key} is damaged")
        if not data:
            raise _Unusable(f"its file {key} is empty")
        if self.keep_metadata:
            return data, sha256
        try:
            return strip_metadata(data), sha256
        except Malformed as error:
            reason = f"its metadata cannot be taken out of {key}: {error}"
            raise _Unusable(
                f"{reason} (exporting with metadata leaves files as they are)"
            ) from error


def named(left_out: Sequence[LeftOut]) -> str:
    """Return the first of them with their reasons, and how many more there are."""
    more = len(left_out) - SHOWN_PROBLEMS
    shown = "; ".join(map(str, left_out[:SHOWN_PROBLEMS]))
    return f"{shown}; and {more:,} more" if more > 0 else shown


def dataset_images(job_id: int) -> Iterator[Image]:
    """Yield the images by index, then those without one, in pages of one short query each."""
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


def default_label(job: CrawlJob) -> str:
    """Return the class of images without a label: the job's keyword when it has only one."""
    keywords = job.keywords if isinstance(job.keywords, list) else []
    return (str(keywords[0]) if len(keywords) == 1 else "") or UNLABELLED
