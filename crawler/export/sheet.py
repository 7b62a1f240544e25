"""A contact sheet: small pictures of a dataset, grouped by class label."""

from collections.abc import Sequence
from pathlib import Path

from django.db.models import Count
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from crawler.errors import WrongState
from crawler.export.dataset import ExportFailed, default_label
from crawler.export.files import written_aside
from crawler.models import CrawlJob, Image
from crawler.thumbnails import small_picture
from pixsim.core import media
from pixsim.core.private import make_folder

SIDE, GAP, HEADING = 128, 8, 32
"""Pixels: a thumbnail's square, the space around it, a label's line."""
BACKGROUND, INK, MISSING = "white", "#202020", "#d0d0d0"

Group = tuple[str, Sequence[Image]]


def contact_sheet(*, job_id: int, path: Path, columns: int = 8, limit: int = 64) -> Path:
    """Draw a job's images, about `limit` in all and equally many per label, to the PNG `path`.

    A picture whose file is missing, damaged or too costly is a grey square. Raise WrongState if there
    is no such job, ExportFailed if it has no images or `path` cannot be written.
    """
    job = CrawlJob.objects.filter(pk=job_id).first()
    if job is None:
        raise WrongState(f"There is no crawl job {job_id}.")
    groups = _groups(job, limit)
    if not groups:
        raise ExportFailed(f"Crawl job {job_id} has no images to show.")
    sheet = _draw(groups, columns)
    try:
        make_folder(path.parent)
        with written_aside(path) as aside:
            sheet.save(aside, "PNG", optimize=True)
    except OSError as error:
        raise ExportFailed(f"{path} was not written: {error.strerror or error}.") from error
    return path


def _groups(job: CrawlJob, limit: int) -> list[Group]:
    images = Image.objects.filter(crawl_job=job).in_dataset()
    counts = list(images.values_list("label").annotate(images=Count("id")).order_by("label"))
    counts = counts[: max(1, limit)]
    return [
        (
            f"{label or default_label(job)} · {count:,}",
            list(images.filter(label=label).order_by("image_index", "id")[: limit // len(counts)]),
        )
        for label, count in counts
    ]


def _draw(groups: Sequence[Group], columns: int) -> Pillow.Image:
    step = SIDE + GAP
    rows = [-(-len(images) // columns) for _heading, images in groups]
    size = (columns * step + GAP, sum(HEADING + count * step for count in rows) + GAP)
    sheet = Pillow.new("RGB", size, BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    missing = Pillow.new("RGB", (SIDE, SIDE), MISSING)
    top = 0
    for (heading, images), count in zip(groups, rows, strict=True):
        pen.text((GAP, top + HEADING // 4), heading, fill=INK, font=font)
        top += HEADING
        for place, image in enumerate(images):
            small = _square(image) or missing
            left = GAP + place % columns * step + (SIDE - small.width) // 2
            above = top + place // columns * step + (SIDE - small.height) // 2
            sheet.paste(small, (left, above))
        top += count * step
    return sheet


def _square(image: Image) -> Pillow.Image | None:
    """Return an image at most SIDE pixels wide and high; None if its file cannot be shown."""
    try:
        small = small_picture(image.storage_url, side=SIDE)
    except (OSError, media.Undecodable):
        return None
    return Pillow.frombytes("RGB", (small.width, small.height), small.rgb) if small else None
