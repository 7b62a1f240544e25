"""Exports: what is in the archive, that it says the truth, and that half of one never appears."""

import csv
import hashlib
import importlib
import io
import json
import re
import resource
import sys
import zipfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from PIL import Image as Pillow

from accounts.errors import FeatureRefused
from crawler.errors import WrongState
from crawler.export import ExportFailed, all_formats, dataset, export_job, formats
from crawler.export.files import class_folder
from crawler.export.formats import class_folders
from crawler.export.sheet import contact_sheet
from crawler.models import CrawlJob, CrawlSource, Image, Project
from pixsim.core import blobs
from tests.crawler.pictures import encode, jpeg, photograph

pytestmark = pytest.mark.django_db

# One grey pixel: bytes that no library writes differently tomorrow.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def blob_folder(settings, tmp_path) -> Path:
    folder = tmp_path / "blobs"
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(folder)},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    return folder


def make_job(**values) -> CrawlJob:
    project = Project.objects.create(name="Test")
    values = {"name": "Cats & Dogs", "max_images": 10, "keywords": ["cats"], **values}
    return CrawlJob.objects.create(project=project, status="completed", **values)


def add_image(job: CrawlJob, number: int | None, data: bytes | None = None, **values) -> Image:
    data = data or jpeg(64, 48, seed=number or 0)
    sha256 = hashlib.sha256(data).hexdigest()
    suffix = values.pop("suffix", ".jpg")
    values = {
        "original_url": f"https://example.org/{number}.jpg",
        "storage_url": blobs.put(data, suffix=suffix),
        "sha256": sha256,
        "phash": -1,
        "width": 64,
        "height": 48,
        "format": "jpeg",
        "file_size": len(data),
        "retrieved_at": NOW,
        **values,
    }
    return Image.objects.create(
        crawl_job=job, image_index=number, filename=f"{sha256}{suffix}", **values
    )


def owned_job(django_user_model) -> CrawlJob:
    owner = django_user_model.objects.create_user("ada", "ada@example.org").profile
    job = make_job()
    Project.objects.update(owner=owner)
    add_image(job, 0)
    return job


def exported(job: CrawlJob, folder: Path, **options) -> zipfile.ZipFile:
    return zipfile.ZipFile(export_job(job_id=job.pk, folder=folder, **options).path)


def metadata(archive: zipfile.ZipFile) -> list[dict]:
    return [json.loads(line) for line in archive.read("metadata.jsonl").splitlines()]


def names(archive: zipfile.ZipFile) -> list[str]:
    return [row["file_name"] for row in metadata(archive)]


def test_an_archive_has_class_folders_and_says_the_truth_about_every_file(tmp_path):
    job = make_job(valid_images=3, outcomes={"stored": 3, "robots": 2})
    CrawlSource.objects.create(job=job, kind="urls", location="/lists/cats.csv", label="cats")
    exif = Pillow.Exif()
    exif[0x010E] = "who was there"
    with_exif = encode(photograph(64, 48), exif=exif.tobytes())
    add_image(job, 0, label="cats", provenance={"creator": "Ada", "licence": "CC0", "other": 1})
    add_image(job, 1, with_exif, label="dogs")
    png = encode(photograph(64, 48), "PNG")
    add_image(job, 2, png, label="cats", format="png", suffix=".png", phash=None)

    export = export_job(job_id=job.pk, folder=tmp_path / "new" / "folder")

    assert export.path == tmp_path / "new" / "folder" / f"cats-dogs-{job.pk}.zip"
    assert (export.images, export.classes) == (3, {"cats": 2, "dogs": 1})
    assert export.size == export.path.stat().st_size
    archive = zipfile.ZipFile(export.path)
    assert archive.testzip() is None

    rows = metadata(archive)
    assert [row["label"] for row in rows] == ["cats", "dogs", "cats"]
    assert [row["index"] for row in rows] == [0, 1, 2]
    for row in rows:
        folder, name = row["file_name"].split("/")
        assert folder == row["label"]
        assert name.startswith(f"{row['index']:06}_{row['sha256'][:12]}.")
        data = archive.read(row["file_name"])
        assert hashlib.sha256(data).hexdigest() == row["file_sha256"]
        assert len(data) == row["file_size"]
    assert rows[0] == {
        "file_name": rows[0]["file_name"],
        "label": "cats",
        "url": "https://example.org/0.jpg",
        **dict.fromkeys(class_folders.PROVENANCE, ""),
        "creator": "Ada",
        "licence": "CC0",
        "sha256": hashlib.sha256(jpeg(64, 48, seed=0)).hexdigest(),
        "file_sha256": rows[0]["file_sha256"],
        "phash": "f" * 16,
        "width": 64,
        "height": 48,
        "format": "jpeg",
        "file_size": rows[0]["file_size"],
        "index": 0,
        "retrieved_at": "2026-05-01T12:00:00.000000+00:00",
    }
    assert b"who was there" not in archive.read(rows[1]["file_name"])
    assert rows[1]["sha256"] == hashlib.sha256(with_exif).hexdigest() != rows[1]["file_sha256"]
    assert rows[2]["file_name"].endswith(".png")
    assert archive.read(rows[2]["file_name"]) == png

    manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["requested"], manifest["stored"], manifest["images"]) == (10, 3, 3)
    assert manifest["outcomes"] == {"stored": 3, "robots": 2}
    assert manifest["sources"] == [{"kind": "urls", "location": "cats.csv", "label": "cats"}]
    assert manifest["job"]["id"] == job.pk
    assert manifest["classes"] == [
        {"label": "cats", "folder": "cats", "images": 2},
        {"label": "dogs", "folder": "dogs", "images": 1},
    ]
    checksums = archive.read("checksums.sha256").decode().splitlines()
    listed = {line[66:]: line[:64] for line in checksums}
    assert listed == {
        name: hashlib.sha256(archive.read(name)).hexdigest()
        for name in archive.namelist()
        if name != "checksums.sha256"
    }


def test_the_same_dataset_gives_the_same_bytes_wherever_and_whenever_it_is_exported(tmp_path):
    job = make_job()
    for number in (3, 1, 2, 0):
        add_image(job, number)
    first = export_job(job_id=job.pk, folder=tmp_path / "a").path
    again = export_job(job_id=job.pk, folder=tmp_path / "b").path
    assert first.read_bytes() == again.read_bytes()
    archive = zipfile.ZipFile(first)
    assert names(archive) == sorted(names(archive))
    assert {
        (entry.date_time, entry.external_attr >> 16, entry.compress_type, entry.create_system)
        for entry in archive.infolist()
    } == {((1980, 1, 1, 0, 0, 0), 0o100644, zipfile.ZIP_STORED, 3)}


def test_the_bytes_of_a_dataset_are_those_of_every_earlier_release(tmp_path):
    """Change TOOL, the layout's version, before this digest."""
    project = Project.objects.create(pk=900, name="Test")
    job = CrawlJob.objects.create(
        pk=901, project=project, name="Cats & Dogs", max_images=3, keywords=["cats"], valid_images=2
    )
    CrawlJob.objects.filter(pk=901).update(created_at=NOW, status="completed", completed_at=NOW)
    CrawlSource.objects.create(job=job, kind="urls", location="/lists/cats.csv", label="cats")
    for number, label in ((1, ""), (0, "Dogs"), (2, "dogs")):
        data = PNG + bytes([number])  # what is behind the end is not exported
        add_image(job, number, data, label=label, suffix=".png", provenance={"creator": "=Ada"})
    archive = export_job(job_id=901, folder=tmp_path).path.read_bytes()
    assert (
        hashlib.sha256(archive).hexdigest()
        == "7f6ff48817ca875cfbafc19f61aa6cbc09fe7fd4493667a18c170cceddfb7820"
    )


def test_a_new_file_is_a_format_chosen_by_name(tmp_path, monkeypatch):
    (tmp_path / "names.py").write_text(NAMES)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    all_formats.cache_clear()
    job = make_job(name="Zoo")
    for number in range(2):
        add_image(job, number, label="cats")
    try:
        words = ["crawl_job", str(job.pk), "export", "--to", str(tmp_path), "--export-format"]
        call_command(*words, "names")
        assert (tmp_path / f"zoo-{job.pk}.txt").read_text() == "cats 0 of Zoo\ncats 1 of Zoo\n"
        export = export_job(job_id=job.pk, folder=tmp_path, format="names")
        assert (export.images, export.classes) == (2, {"cats": 2})
        Image.objects.filter(image_index=1).update(storage_url=None)
        export = export_job(job_id=job.pk, folder=tmp_path, format="names")
        assert (export.images, len(export.left_out)) == (1, 1)
        assert export.path.read_text() == "cats 0 of Zoo\n"
    finally:
        monkeypatch.undo()
        sys.modules.pop("crawler.export.formats.names", None)
        all_formats.cache_clear()
    with pytest.raises(ExportFailed, match="no format 'names'; there are: class-folders"):
        export_job(job_id=job.pk, folder=tmp_path, format="names")
    with pytest.raises(CommandError, match="invalid choice: 'names'"):
        call_command(*words, "names")


NAMES = """
from crawler.export import Exporter


class Names(Exporter):
    name = "names"
    title = "a list of names"
    suffix = ".txt"

    def write(self, dataset, path):
        with path.open("w") as file:
            for picture in dataset.pictures():
                line = f"{picture.label} {picture.image.image_index} of {dataset.job.name}"
                print(line, file=file)
"""


def test_files_keep_what_was_written_about_them_when_that_is_asked_for(tmp_path):
    job = make_job()
    commented = encode(photograph(64, 48), comment="who was there")
    add_image(job, 0, commented)
    archive = exported(job, tmp_path, keep_metadata=True)
    (row,) = metadata(archive)
    assert archive.read(row["file_name"]) == commented
    assert row["sha256"] == row["file_sha256"]
    assert json.loads(archive.read("manifest.json"))["metadata_removed_from"] == []


def test_near_duplicates_are_left_out_and_images_without_an_index_come_last(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "PAGE_SIZE", 2)
    job = make_job()
    released = [add_image(job, None, jpeg(64, 48, seed=20 + n)) for n in range(3)]
    kept = [add_image(job, number) for number in (4, 0, 2, 7, 5)]
    add_image(job, None, jpeg(64, 48, seed=30), near_duplicate_of=kept[0])
    add_image(make_job(), 0, jpeg(64, 48, seed=31))
    stems = [PurePosixPath(name).name.split("_")[0] for name in names(exported(job, tmp_path))]
    assert stems == ["000000", "000002", "000004", "000005", "000007"] + [
        f"id{image.pk}" for image in released
    ]


def test_labels_become_folders_of_their_own_inside_the_archive_whatever_they_contain(tmp_path):
    job = make_job(name="../../etc/passwd", keywords=["a", "b"])
    labels = [
        "Cats",
        "cats",
        "cats 2",
        "../../x",
        "CON",
        "",
        "!!!",
        "猫" * 100,
        "a/b\\c",
        "c" * 100,
    ]
    for number, label in enumerate(labels):
        add_image(job, number, label=label)
    archive = exported(job, tmp_path)
    assert Path(archive.filename).parent == tmp_path
    rows = metadata(archive)
    folders = [row["file_name"].split("/")[0] for row in rows]
    assert all(row["file_name"].count("/") == 1 for row in rows)
    assert len(set(folders)) == len(labels)
    assert [folders[1], folders[2], folders[5]] == ["cats", "cats-2", "unlabelled"]
    for place, begin in ((0, "cats"), (3, "x"), (4, "con"), (6, "class"), (7, "猫" * 50)):
        assert re.fullmatch(f"{begin}-[0-9a-f]{{8}}", folders[place])
    assert [row["label"] for row in rows] == [label or "unlabelled" for label in labels]
    assert all(len(folder.encode()) <= 200 for folder in folders)


LABELS = ["C#", "C++", "c", "C", "c-", "c 4a7d1ed4", "c sharp", "c-sharp", "c_sharp", "C Sharp", "CAFÉ",
    "café", "cafe\u0301", "1.5", "15", "1 5", "a" * 50, "a" * 51, "a" * 52, "con", "CON", "!", "?", "\ud800",
    "./c", "c.", " c", "ﬁsh", "fish"]  # fmt: skip


def test_a_class_has_the_same_folder_in_every_export_whatever_other_classes_there_are(tmp_path):
    assert [class_folder(label) for label in ("c", "red panda", "red_panda", "café")] == [
        "c", "red-panda", "red_panda", "café",
    ]  # fmt: skip
    folders = [class_folder(label) for label in LABELS]
    assert len({folder.casefold() for folder in folders}) == len(LABELS), folders
    assert class_folder(class_folder("C#").replace("-", " ")) != class_folder("C#")
    stored = [label for label in LABELS if label != "\ud800"]
    for order in (stored, stored[::-1], ["C++"]):
        job = make_job(keywords=[])
        for number, label in enumerate(order):
            add_image(job, number, label=label)
        rows = metadata(exported(job, tmp_path))
        assert [row["label"] for row in rows] == order
        assert [row["file_name"].split("/")[0] for row in rows] == [*map(class_folder, order)]


SPLITS = [
    "train",
    "Test",
    "testclass",
    "my_test_images",
    "2nd-dev-set",
    "val2",
    "evaluation",
    "x training",
]
NO_SPLITS = ["trains", "contest", "device", "trainer", "data", "tests", "vale"]


def test_no_folder_is_called_like_a_split_of_the_data():
    folders = [class_folder(label) for label in SPLITS]
    assert [folder.rsplit("-", 1)[0] for folder in folders] == [
        "trainclass", "testclass", "testclass", "my_testclass_images", "2nd-devclass-set", "valclass2",
        "evaluationclass", "x-trainingclass",
    ]  # fmt: skip
    assert len({*folders}) == len(SPLITS)
    assert [class_folder(label) for label in NO_SPLITS] == NO_SPLITS


def test_what_separates_digits_is_not_lost_in_the_names_of_folders():
    labels = ["1.0", "0.5", "16:9", "1,5", "v2.0"]
    folders = [class_folder(label).rpartition("-")[0] for label in labels]
    assert folders == ["1-0", "0-5", "16-9", "1-5", "v2-0"]


def test_a_caption_is_exported_whole(tmp_path):
    caption = ('a "cat",\n\u2028 a dog\t🐈‍⬛ ' * 10_000)[:100_000]
    job = make_job()
    add_image(job, 0, provenance={"caption": caption, "title": 'a "cat",'})
    archive = exported(job, tmp_path)
    assert [(row["caption"], row["title"]) for row in metadata(archive)] == [(caption, 'a "cat",')]
    assert len(archive.read("ATTRIBUTION.csv")) < 1000


def test_what_is_not_known_has_the_type_of_its_column(tmp_path):
    job = make_job()
    unknown = dict.fromkeys(["phash", "width", "height", "format", "sha256", "retrieved_at"])
    add_image(job, None, **unknown)
    add_image(job, 0, provenance=dict.fromkeys(class_folders.PROVENANCE, "said"))
    known, row = metadata(exported(job, tmp_path))
    assert {name: type(value) for name, value in row.items()} == {
        name: type(value) for name, value in known.items()
    }
    assert (row["title"], row["width"], row["index"], row["retrieved_at"]) == ("", 0, -1, "")


def test_images_without_a_label_have_the_only_keyword_as_their_class(tmp_path):
    job = make_job(keywords=["Red Cats"])
    add_image(job, 0)
    add_image(job, 1, label="Red Cats")
    rows = metadata(exported(job, tmp_path))
    assert {(row["label"], row["file_name"].split("/")[0]) for row in rows} == {
        ("Red Cats", class_folder("Red Cats"))
    }


def test_no_cell_of_the_attribution_file_is_a_formula(tmp_path):
    job = make_job()
    hostile = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", 'a "quoted", title']
    for number, title in enumerate(hostile):
        add_image(job, number, provenance={"title": title, "creator": "Zoë"})
    table = io.StringIO(exported(job, tmp_path).read("ATTRIBUTION.csv").decode("utf-8-sig"))
    rows = list(csv.DictReader(table))
    assert [row["title"] for row in rows] == [f"'{title}" for title in hostile[:5]] + hostile[5:]
    assert all(row["creator"] == "Zoë" and row["url"] for row in rows)


def test_spreadsheets_read_the_attribution_file_and_programs_the_others(tmp_path):
    job = make_job()
    add_image(job, 0, provenance={"creator": "Zoë"})
    archive = exported(job, tmp_path)
    assert archive.read("ATTRIBUTION.csv").startswith(b"\xef\xbb\xbffile_name,")
    for name in ("metadata.jsonl", "manifest.json", "checksums.sha256"):
        assert not archive.read(name).startswith(b"\xef\xbb\xbf"), name


def test_an_image_without_a_usable_file_is_left_out_and_named_and_the_others_are_exported(
    tmp_path, blob_folder, capsys
):
    job = make_job()
    images = [add_image(job, number) for number in range(8)]
    (blob_folder / images[1].storage_url).unlink()
    (blob_folder / images[2].storage_url).write_bytes(b"other bytes")
    (blob_folder / images[3].storage_url).unlink()
    (blob_folder / images[3].storage_url).mkdir()
    Image.objects.filter(pk=images[4].pk).update(storage_url="../../../etc/passwd")
    Image.objects.filter(pk=images[5].pk).update(storage_url=None)
    (blob_folder / images[6].storage_url).write_bytes(b"")
    Image.objects.filter(pk=images[6].pk).update(sha256=None)
    countless = add_image(job, 8, b"\xff\xd8\xff" + b"\xff\xe0\0\2" * 100_001)

    export = export_job(job_id=job.pk, folder=tmp_path / "out")

    reasons = {one.id: one.reason for one in export.left_out}
    expected = ("missing", "damaged", "cannot be read", "never stored", "never stored", "empty")
    assert list(reasons) == [image.pk for image in (*images[1:7], countless)]
    for image, why in zip(images[1:7], expected, strict=True):
        assert why in reasons[image.pk]
    assert "metadata cannot be taken out" in reasons[countless.pk]
    archive = zipfile.ZipFile(export.path)
    assert [row["index"] for row in metadata(archive)] == [0, 7]
    manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["images"], export.images, len(manifest["left_out"])) == (2, 2, 7)
    assert manifest["left_out"][0] == {
        "id": images[1].pk,
        "index": 1,
        "url": images[1].original_url,
        "reason": reasons[images[1].pk],
    }
    words = ["crawl_job", str(job.pk), "export", "--to", str(tmp_path / "out")]
    call_command(*words)
    said = capsys.readouterr().out
    assert f"Left out, 7 of its images: image {images[1].pk}: its file " in said
    assert "; and 2 more." in said
    call_command(*words, "--json")
    assert len(json.loads(capsys.readouterr().out)["left_out"]) == 7
    with_metadata = export_job(job_id=job.pk, folder=tmp_path / "out", keep_metadata=True)
    assert (with_metadata.images, len(with_metadata.left_out)) == (3, 6)


def test_a_picture_with_a_comment_of_length_0_is_exported_without_it(tmp_path):
    job = make_job()
    data = jpeg(64, 48)
    odd = data[:20] + b"\xff\xfe\0\0who was there" + data[20:]
    add_image(job, 0, odd)
    archive = exported(job, tmp_path)
    (name,) = names(archive)
    assert b"who was there" not in archive.read(name)
    assert (
        Pillow.open(io.BytesIO(archive.read(name))).convert("RGB").tobytes()
        == Pillow.open(io.BytesIO(data)).convert("RGB").tobytes()
    )


def test_where_no_image_is_usable_nothing_is_published(tmp_path, blob_folder):
    job = make_job()
    images = [add_image(job, number) for number in range(7)]
    before = export_job(job_id=job.pk, folder=tmp_path / "out").path.read_bytes()
    for image in images:
        (blob_folder / image.storage_url).unlink()
    with pytest.raises(ExportFailed, match="none of its images can be used") as refusal:
        export_job(job_id=job.pk, folder=tmp_path / "out")
    assert f"image {images[0].pk}: its file {images[0].storage_url} is missing" in str(
        refusal.value
    )
    assert "and 2 more" in str(refusal.value)
    (kept,) = (tmp_path / "out").iterdir()
    assert kept.read_bytes() == before


def test_an_export_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path):
    job = make_job()
    for number in range(3):
        add_image(job, number, jpeg(320, 240, seed=number))
    a_file = tmp_path / "file"
    a_file.write_text("here")
    with pytest.raises(ExportFailed, match=f"{a_file}"):
        export_job(job_id=job.pk, folder=a_file)
    with files_at_most(20_000), pytest.raises(ExportFailed, match="was not exported to"):
        export_job(job_id=job.pk, folder=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@contextmanager
def files_at_most(size: int):
    """Writing beyond `size` fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_interrupted_export_leaves_nothing_behind(tmp_path):
    job = make_job()
    for number in range(3):
        add_image(job, number)
    shown = []

    def interrupt(done: int, total: int) -> None:
        shown.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_job(job_id=job.pk, folder=tmp_path / "out", on_progress=interrupt)
    assert shown == [(1, 3), (2, 3)]
    assert list((tmp_path / "out").iterdir()) == []


def test_there_is_no_export_of_nothing(tmp_path):
    job = make_job()
    with pytest.raises(ExportFailed, match="no images to export"):
        export_job(job_id=job.pk, folder=tmp_path)
    with pytest.raises(WrongState, match="no crawl job 99999"):
        export_job(job_id=99999, folder=tmp_path)
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.django_db(transaction=True)
def test_an_export_holds_no_transaction_while_it_reads_and_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "PAGE_SIZE", 2)
    job = make_job()
    for number in range(5):
        add_image(job, number)
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    states = []
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as observer:

        def observe(done: int, total: int) -> None:
            query = "SELECT state, backend_xmin FROM pg_stat_activity WHERE pid = %s"
            states.append(observer.execute(query, [pid]).fetchone())

        export_job(job_id=job.pk, folder=tmp_path, on_progress=observe)
    assert states == [("idle", None)] * 5


def test_a_contact_sheet_shows_every_label_and_a_grey_square_for_what_is_missing(
    tmp_path, blob_folder
):
    job = make_job(keywords=[])
    for number in range(6):
        add_image(job, number, encode(Pillow.new("RGB", (300, 200), "red")) + bytes([number]))
    gone = add_image(job, 6, label="dogs")
    (blob_folder / gone.storage_url).unlink()
    path = contact_sheet(job_id=job.pk, path=tmp_path / "new" / "sheet.png", columns=4, limit=10)
    sheet = Pillow.open(path)
    # Two headings, two rows of red pictures (five fit its half of the limit), one grey square.
    assert sheet.size == (4 * 136 + 8, 2 * 32 + 3 * 136 + 8)
    counts = {colour: count for count, colour in sheet.getcolors(100_000)}
    assert counts[(0xD0, 0xD0, 0xD0)] >= 128 * 128
    assert (
        sum(n for (r, g, b), n in counts.items() if r > 240 and g < 20 and b < 20) == 5 * 128 * 85
    )
    with pytest.raises(ExportFailed, match="no images to show"):
        contact_sheet(job_id=make_job().pk, path=tmp_path / "sheet.png")


def test_a_tier_without_the_feature_does_not_export(django_user_model, tmp_path, settings):
    job = owned_job(django_user_model)
    settings.TIERS = {"FREE": {"features": ["crawl"]}}
    refusal = "export: tier FREE does not have this feature. Ask for a tier that has it: PRO"

    with pytest.raises(FeatureRefused, match=refusal):
        export_job(job_id=job.pk, folder=tmp_path / "out")
    with pytest.raises(CommandError, match=refusal) as refused:
        call_command("crawl_job", str(job.pk), "export", "--to", str(tmp_path / "out"))
    assert refused.value.returncode == 2
    assert not (tmp_path / "out").exists()

    settings.TIERS = {}
    assert export_job(job_id=job.pk, folder=tmp_path / "out").images == 1
