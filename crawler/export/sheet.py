"""A contact sheet: small pictures of a dataset, grouped by class label."""

from collections.abc import Sequence
from pathlib import Path

from django.db.models import Count
from PIL import Image as Pillow
from PIL import ImageOps

from crawler.errors import WrongState
from crawler.export.dataset import ExportFailed, default_label
from crawler.export.files import written_aside
from crawler.models import CrawlJob, Image
from pixsim.core import blobs

SIDE, GAP, HEADING = 128, 8, 32
"""Pixels: a thumbnail's square, the space around it, a label's line."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 24_000_000
"""A picture that is larger even after a JPEG's own scaling is not decoded."""
BACKGROUND, INK, MISSING = "white", "#202020", "#d0d0d0"

Group = tuple[str, Sequence[Image]]


def contact_sheet(*, job_id: int, path: Path, columns: int = 8, limit: int = 64) -> Path:
    """Draw a job's images, about `limit` in all and equally many per label, to the PNG `path`.

    A picture whose file is missing, unreadable or huge is a grey square. Raise WrongState if there
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
        path.parent.mkdir(parents=True, exist_ok=True)
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
    from PIL import ImageDraw, ImageFont  # the site, which only makes thumbnails, does without

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
            small = thumbnail(image.storage_url, side=SIDE) or missing
            left = GAP + place % columns * step + (SIDE - small.width) // 2
            above = top + place // columns * step + (SIDE - small.height) // 2
            sheet.paste(small, (left, above))
        top += count * step
    return sheet


def thumbnail(key: str | None, *, side: int) -> Pillow.Image | None:
    """Return a stored picture on grey, at most `side` pixels wide and high; None if it is unreadable."""
    if not blobs.is_key(key or ""):
        return None
    try:
        with blobs.open_blob(key or "") as file, Pillow.open(file, formats=FORMATS) as stored:
            stored.draft("RGB", (side, side))
            if stored.width * stored.height > MAX_PIXELS:
                return None
            turned = ImageOps.exif_transpose(stored).convert("RGBA")
            turned.thumbnail((side, side))
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return None
    # What is transparent is shown on grey, which goes with light and dark pages.
    page = Pillow.new("RGB", turned.size, (128, 128, 128))
    page.paste(turned, mask=turned.getchannel("A"))
    return page
