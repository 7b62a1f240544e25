"""Names inside an export: ours, never the remote side's."""

from pathlib import PurePosixPath

from django.utils.text import slugify

from crawler.models import CrawlJob

MAX_SLUG = 50
"""Characters; of four bytes each, with what is added, still a valid file name."""
UNLABELLED = "unlabelled"

# Device names on Windows, where a folder cannot be called so.
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{name}{n}" for name in ("com", "lpt") for n in range(10)]
)


def archive_name(job: CrawlJob) -> str:
    return f"{slug_of(job.name) or 'dataset'}-{job.pk}.zip"


def slug_of(text: str) -> str:
    """Lower-case letters, digits, dashes and underscores of any script; maybe nothing."""
    slug = slugify(text, allow_unicode=True)[:MAX_SLUG].strip("-_")
    return f"{slug}-" if slug in _RESERVED else slug


def file_name(*, folder: str, number: int | None, image_id: int, sha256: str, key: str) -> str:
    """`cats/000012_0a1b2c3d4e5f.jpg`; an image without an index is named by its row, as `id12_…`."""
    place = f"id{image_id}" if number is None else f"{number:06d}"
    return f"{folder}/{place}_{sha256[:12]}{PurePosixPath(key).suffix}"


class ClassFolders:
    """One folder per class label, no two labels in the same one, and how many images each has.

    Images without a label belong to `default`: the job's keyword when it has only one.
    """

    def __init__(self, *, default: str) -> None:
        self.default = default
        self.counts: dict[str, int] = {}
        self._folders: dict[str, str] = {}
        self._taken: set[str] = set()

    def add(self, label: str) -> tuple[str, str]:
        """Count an image with this label; its class and its folder."""
        label = label or self.default
        self.counts[label] = self.counts.get(label, 0) + 1
        if label not in self._folders:
            self._folders[label] = self._new_folder(slug_of(label) or UNLABELLED)
        return label, self._folders[label]

    def listing(self) -> list[dict[str, str | int]]:
        return [
            {"label": label, "folder": self._folders[label], "images": count}
            for label, count in sorted(self.counts.items())
        ]

    def _new_folder(self, slug: str) -> str:
        folder, number = slug, 1
        while folder in self._taken:
            number += 1
            folder = f"{slug}-{number}"
        self._taken.add(folder)
        return folder


def default_label(job: CrawlJob) -> str:
    keywords = job.keywords if isinstance(job.keywords, list) else []
    return str(keywords[0]) if len(keywords) == 1 else UNLABELLED
