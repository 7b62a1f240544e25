"""Class folders in a zip archive: Hugging Face's imagefolder.

`metadata.jsonl` has one line per image: `sha256` is the image's as it was fetched, `file_sha256`
that of the file in the archive. What is not known is an empty text, 0 or -1, never null: readers
such as `datasets` take a column's type from the first lines alone. `ATTRIBUTION.csv` says whom to
name, `manifest.json` what was asked for, what was stored, what was refused and why.
"""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from crawler.export import Exporter
from crawler.export.csv_rows import csv_head, csv_row
from crawler.export.dataset import Dataset, Picture
from crawler.export.files import Archive, class_folder
from crawler.fetch.metadata import STRIPPED_FORMATS
from crawler.public import shown_address, shown_location
from pixsim.core.redaction import redact

TOOL = "PixSim export 3"
"""The layout's version: another one gives other bytes for the same dataset."""

PROVENANCE = (
    "source",
    "source_id",
    "landing_page",
    "caption",
    "title",
    "creator",
    "licence",
    "licence_url",
    "attribution",
)
ADDRESSES = ("landing_page", "licence_url")
ATTRIBUTION = ("file_name", *PROVENANCE[4:], "landing_page", "url")


class ClassFolders(Exporter):
    name = "class-folders"
    title = "zip archive with a folder for each class"

    def write(self, dataset: Dataset, path: Path) -> None:
        folders: dict[str, str] = {}
        with Archive.create(path) as archive:
            lines, attribution = archive.spool(), archive.spool()
            attribution.write(csv_head(ATTRIBUTION))
            for picture in dataset.pictures():
                folder = folders.setdefault(picture.label, class_folder(picture.label))
                name = _file_name(picture, folder)
                row = _row(picture, name, archive.add(name, picture.data))
                lines.write(_json(row))
                attribution.write(csv_row([row[column] for column in ATTRIBUTION]))
            archive.add_spool("metadata.jsonl", lines)
            archive.add_spool("ATTRIBUTION.csv", attribution)
            archive.add("manifest.json", _json(_manifest(dataset, folders), indent=2))


def _file_name(picture: Picture, folder: str) -> str:
    """Return `cats/000012_0a1b2c3d4e5f.jpg`; an image without an index has `id` and its row's."""
    image = picture.image
    place = f"id{image.pk}" if image.image_index is None else f"{image.image_index:06d}"
    suffix = PurePosixPath(image.storage_url or "").suffix
    return f"{folder}/{place}_{picture.sha256[:12]}{suffix}"


def _row(picture: Picture, name: str, file_sha256: str) -> dict[str, Any]:
    image = picture.image
    known = image.provenance if isinstance(image.provenance, dict) else {}
    return {
        "file_name": name,
        "label": picture.label,
        "url": shown_address(image.original_url, known),
        **{key: _told(key, known.get(key)) for key in PROVENANCE},
        "sha256": picture.sha256,
        "file_sha256": file_sha256,
        "phash": "" if image.phash is None else f"{image.phash & 0xFFFF_FFFF_FFFF_FFFF:016x}",
        "width": image.width or 0,
        "height": image.height or 0,
        "format": image.format or "",
        "file_size": len(picture.data),
        "index": -1 if image.image_index is None else image.image_index,
        "retrieved_at": _time(image.retrieved_at),
    }


def _told(key: str, value: Any) -> str:
    text = "" if value is None else str(value)
    return redact(text) if key in ADDRESSES else text


def _time(moment: datetime | None) -> str:
    # Always with its fraction: without, a whole column may be read as times instead of texts.
    return "" if moment is None else moment.isoformat(timespec="microseconds")


def _manifest(dataset: Dataset, folders: dict[str, str]) -> dict[str, Any]:
    job = dataset.job
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
            {"kind": each.kind, "location": shown_location(each.location), "label": each.label}
            for each in job.sources.order_by("id")
        ],
        "requested": job.max_images,
        "stored": job.valid_images,
        "images": sum(dataset.classes.values()),
        "outcomes": job.outcomes,
        "classes": [
            {"label": label, "folder": folders[label], "images": images}
            for label, images in sorted(dataset.classes.items())
        ],
        "left_out": [asdict(one) for one in dataset.left_out],
        "metadata_removed_from": [] if dataset.keep_metadata else list(STRIPPED_FORMATS),
    }


def _json(value: Any, *, indent: int | None = None) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode()
