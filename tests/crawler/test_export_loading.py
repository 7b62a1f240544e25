"""Exports are loaded whole by Hugging Face's `datasets`, in whatever order and of whatever classes."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crawler.export import export_job
from crawler.fetch.examine import examine
from crawler.fetch.rules import Checks
from crawler.models import CrawlJob, Image, Project
from pixsim.core import blobs
from tests.crawler.hugging_face import load_datasets
from tests.crawler.oriented import cases
from tests.crawler.pictures import encode, photograph

pytestmark = [pytest.mark.django_db, pytest.mark.long, pytest.mark.timeout(1800)]

MANY = 100_000
KNOWN = {
    "label": "cats",
    "provenance": {
        "source": "urls", "source_id": "7", "landing_page": "https://example.org", "title": "A cat",
        "caption": "A cat,\n" * 20,
        "creator": "Ada", "licence": "CC0", "licence_url": "https://cc", "attribution": "by Ada",
    },
    "phash": 7,
    "width": 8,
    "height": 6,
    "format": "png",
    "retrieved_at": datetime(2026, 5, 1, 12, tzinfo=UTC),
}  # fmt: skip
TEXT, NUMBER = "string", "int64"


@pytest.fixture(autouse=True)
def blob_folder(settings, tmp_path) -> None:
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(tmp_path / "blobs")},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


def job_with(rows: list[dict[str, Any]]) -> CrawlJob:
    """Return a job with these rows, all of one small picture: a row inserted by hand has no sha256."""
    project = Project.objects.create(name="Test")
    job = CrawlJob.objects.create(project=project, name="many", max_images=len(rows))
    key = blobs.put(encode(photograph(8, 6), "PNG"), suffix=".png")
    Image.objects.bulk_create(
        (
            Image(
                crawl_job=job,
                image_index=number,
                original_url=f"https://example.org/{number}.png",
                filename=f"{number}.png",
                storage_url=key,
                **row,
            )
            for number, row in enumerate(rows)
        ),
        batch_size=5000,
    )
    return job


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [({}, KNOWN, MANY), (KNOWN, {}, MANY), ({}, {}, 20_000)],
    ids=["known in the second half", "in the first", "nowhere"],
)
def test_the_types_of_columns_do_not_depend_on_the_order_of_rows(
    tmp_path: Path, first: dict, second: dict, rows: int
):
    half = rows // 2
    export = export_job(job_id=job_with([first] * half + [second] * half).pk, folder=tmp_path)
    [splits] = load_datasets(
        tmp_path / "cache", (["imagefolder"], {"data_files": str(export.path)})
    )
    found = splits.pop("train")
    assert not splits
    assert found["rows"] == rows
    assert found["sides"] == [[8, 6]]
    numbers = {"width", "height", "file_size", "index"}
    with zipfile.ZipFile(export.path) as archive, archive.open("metadata.jsonl") as lines:
        columns = json.loads(next(lines)).keys() - {"file_name"}
        assert all(None not in json.loads(line).values() for line in lines)
    types = {column: NUMBER if column in numbers else TEXT for column in columns}
    assert found["types"] == types | {"image": "PIL.Image.Image"}


SPLITS = [
    ["train", "test", "data"],
    ["Train", "TRAIN", "training", "validation", "valid", "dev", "val", "testing", "eval", "evaluation"],
    ["test cats", "my_test_images", "eval2", "2nd dev", "x-val-y", "test.2", "cats"],
    ["testclass", "test", "Cats", "cats", "CATS"],
    ["data", "metadata", "images", "default", "all", "1.0", "10", "pycache", "猫", "c++"],
    ["train"],
]  # fmt: skip


def test_every_picture_is_loaded_whatever_its_class_is_called(tmp_path: Path):
    calls, expected = [], []
    for number, labels in enumerate(SPLITS):
        rows = [{"label": label} for label in labels for _ in range(4)]
        path = export_job(job_id=job_with(rows).pk, folder=tmp_path).path
        folder = tmp_path / f"unpacked-{number}"
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        calls += [
            (["imagefolder"], {"data_files": str(path)}),
            (["imagefolder"], {"data_dir": str(folder)}),
            ([str(folder)], {}),
        ]
        expected += [(len(rows), dict.fromkeys(labels, 4))] * 3
    loaded = load_datasets(tmp_path / "cache", *calls)
    assert [[*splits] for splits in loaded] == [["train"]] * len(calls)
    found = [(splits["train"]["rows"], splits["train"]["labels"]) for splits in loaded]
    assert found == expected


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_every_picture_is_loaded_as_large_as_its_row_says(tmp_path: Path):
    shown = [one for one in cases() if one.format in ("jpeg", "png", "webp") and one.pillow > 4]
    rows = []
    for one in shown[:: len(shown) // 40]:
        verdict = examine(one.data, Checks(10_000, 1, 10.0))
        key = blobs.put(one.data, suffix=f".{one.format}")
        rows.append({"storage_url": key, "width": verdict.width, "height": verdict.height})
    job = job_with([{}])
    Image.objects.all().delete()
    for number, row in enumerate(rows):
        Image.objects.create(
            crawl_job=job, image_index=number, original_url="https://a.example", **row
        )
    for keeps in (False, True):
        path = export_job(job_id=job.pk, folder=tmp_path, keep_metadata=keeps).path
        [splits] = load_datasets(tmp_path / "cache", (["imagefolder"], {"data_files": str(path)}))
        assert splits["train"]["sizes"] == [[32, 64, 32, 64]] * len(rows)
