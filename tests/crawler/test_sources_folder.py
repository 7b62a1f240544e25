"""Folders name the pictures in them."""

import os
from pathlib import Path

import pytest

from crawler.errors import SourceRefused
from crawler.export.files import class_folder
from crawler.fetch import checker
from crawler.models import CrawlJob, CrawlSource
from crawler.services.accepting import SourceSpec, create_crawl_job
from crawler.sources import build
from crawler.sources.base import Found
from crawler.sources.roots import location_of
from crawler.urls import path_of
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import encode, jpeg, photograph
from tests.crawler.reading import read_all


@pytest.fixture
def root(tmp_path: Path, settings) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    settings.CRAWL_FOLDER_ROOTS = [str(root)]
    return root


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")


def below(root: Path, found: list[Found]) -> list[str]:
    return [str(path_of(f.url).relative_to(root)) for f in found]


def test_pictures_of_all_depths_come_in_order_and_nothing_else_does(root: Path) -> None:
    put(root, "b.jpg", "a/2.PNG", "a/1.webp", "a.b/x.gif", "a/deep/er/z.jpeg")
    put(root, "notes.txt", ".hidden.jpg", ".git/a.jpg", "Thumbs.db", ".DS_Store")
    found, rejected = read_all(build("folder", str(root), {}, "cats"))
    assert below(root, found) == ["a/1.webp", "a/2.PNG", "a/deep/er/z.jpeg", "a.b/x.gif", "b.jpg"]
    assert rejected == []
    assert found[0].label == "cats"
    assert found[0].provenance == {"source": "folder", "source_id": "a/1.webp"}


def test_a_picture_without_an_extension_is_a_picture_and_other_files_are_counted(
    root: Path, tmp_path: Path
) -> None:
    picture = photograph(64, 48)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        (root / f"a {kind}").write_bytes(encode(picture, kind))
    for name in ("0a1b2c", "2020.05.01 party", "IMG.1", "x.jpg_large", "x.jpeg~", "trailing."):
        (root / name).write_bytes(jpeg(64, 48))
    (root / "raw.cr2").write_bytes(encode(picture, "TIFF"))  # another extension decides
    put(root, "LICENSE", "empty", "BM is no bitmap", "notes.txt")
    (root / "empty").write_bytes(b"")
    os.mkfifo(root / "pipe")
    (tmp_path / "elsewhere").write_bytes(jpeg(64, 48))
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root / "0a1b2c")
    found, rejected = read_all(lambda: build("folder", str(root), {}, ""), limit=1)
    assert set(below(root, found)) == {
        *(f"a {kind}" for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")),
        *("0a1b2c", "2020.05.01 party", "IMG.1", "x.jpg_large", "x.jpeg~", "trailing.", "again"),
    }
    none = "no extension, and no picture by its first bytes"
    assert rejected == [
        ("BM is no bitmap", none),
        ("LICENSE", none),
        ("empty", none),
        ("link", "a link that leaves the folder"),
        ("pipe", "not a file"),
    ]


def test_of_a_file_without_an_extension_only_the_first_bytes_are_read(root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(2**40)  # a terabyte of nothing
    found, rejected = read_all(build("folder", str(root), {}, ""))
    assert (found, len(rejected)) == ([], 1)


@pytest.mark.django_db(transaction=True)
def test_the_decoder_decides_over_a_picture_without_an_extension(root: Path, settings) -> None:
    location = {"location": str(root.parent / "blobs")}
    backend = {"BACKEND": "pixsim.core.blobs.local.BlobStorage", "OPTIONS": location}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    (root / "0a1b2c").write_bytes(jpeg(160, 120))
    (root / "3d4e5f").write_bytes(b"\xff\xd8\xff no picture")
    put(root, "LICENSE")
    job = create_crawl_job(
        owner=None, name="n", max_images=3, source_specs=[SourceSpec("folder", str(root))]
    )
    with working():
        wait_until(lambda: not CrawlJob.objects.get().is_open)
    job.refresh_from_db()
    assert (job.valid_images, job.total_images) == (1, 2)
    assert CrawlSource.objects.get().rejected == 1


def test_reading_goes_on_from_any_cursor_in_a_fresh_process(root: Path) -> None:
    put(root, *(f"{d}/{n}.jpg" for d in ("a", "a/b", "a-b", "c") for n in range(4)), "z.jpg")
    whole, _ = read_all(build("folder", str(root), {}, ""))
    for limit in (1, 2, 5):
        by_pages, _ = read_all(lambda: build("folder", str(root), {}, ""), limit=limit)
        assert by_pages == whole


def test_files_that_come_and_go_meanwhile_disturb_nothing(root: Path) -> None:
    put(root, "a/1.jpg", "b/1.jpg", "c/1.jpg")
    first = build("folder", str(root), {}, "").read(None, limit=2)
    assert below(root, first.found) == ["a/1.jpg", "b/1.jpg"]
    (root / "b/1.jpg").unlink()
    (root / "b").rmdir()
    put(root, "a/2.jpg", "b2/1.jpg")
    rest = build("folder", str(root), {}, "").read(first.cursor)
    assert below(root, rest.found) == ["b2/1.jpg", "c/1.jpg"]


def test_the_first_sub_folder_can_be_the_label(root: Path) -> None:
    put(root, "cats/1.jpg", "cats/small/2.jpg", "dogs/1.jpg", "loose.jpg")
    found, _ = read_all(build("folder", str(root), {"labels": "folder"}, "animals"))
    assert [f.label for f in found] == ["cats", "cats", "dogs", "animals"]


def test_links_do_not_lead_out_of_the_folder_nor_in_circles(root: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret/1.jpg")
    put(root, "in/1.jpg")
    (root / "out.jpg").symlink_to(tmp_path / "secret/1.jpg")
    (root / "outside").symlink_to(tmp_path / "secret")
    (root / "in/circle").symlink_to(root)
    (root / "in/again.jpg").symlink_to(root / "in/1.jpg")
    (root / "broken.jpg").symlink_to(root / "nowhere.jpg")
    found, rejected = read_all(build("folder", str(root), {}, ""))
    assert below(root, found) == ["in/1.jpg", "in/again.jpg"]
    assert rejected == [
        ("broken.jpg", "not a file"),
        ("out.jpg", "a link that leaves the folder"),
    ]


JPEG = b"\xff\xd8\xff\xe0"
ODD_NAMES = [
    b"caf\xe9.jpg", b"\xff\xfe.jpg", b"\xed\xb3\xa9.jpg", b"line\nbreak.jpg", b"tab\t\x01\x7f.jpg",
    b"100%.jpg", b"%2e%2e%2f.jpg", b"%E9.jpg", b"what?.jpg", b"a?b=c.jpg", b"#1.jpg", b"a#b.jpg", b"a;b.jpg",
    b"x" * 251 + b".jpg",
    b"-rf.jpg", b" edges .jpg", b"back\\slash.jpg", b"a:b|c*.jpg", b"quote\"'.jpg", b"http:",
    "e\u0301.jpg".encode(), "\u00e9.jpg".encode(), "\u202egpj.jpg".encode(), "🐈.jpg".encode(),
]  # fmt: skip


def put_raw(folder: bytes, *names: bytes) -> None:
    os.makedirs(folder, exist_ok=True)
    for name in names:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(JPEG + name)


@pytest.mark.parametrize("folder", [b"plain", b"caf\xe9 ", b" \n#?%41", b"-\xff" + b"x" * 250])
@pytest.mark.parametrize("limit", [1, 1000])
def test_names_of_any_bytes_are_read_resumed_and_found_again(
    root: Path, folder: bytes, limit: int
) -> None:
    inside = os.path.join(os.fsencode(root), folder)
    put_raw(inside, *ODD_NAMES)
    location = location_of(Path(os.fsdecode(inside)))
    assert location.isprintable()
    build("folder", location, {}, "").check()
    found, rejected = read_all(lambda: build("folder", location, {}, ""), limit=limit)
    assert rejected == []
    paths = [os.fsencode(path_of(f.url)) for f in found]
    assert paths == sorted(os.path.join(inside, name) for name in ODD_NAMES)
    for each, path in zip(found, paths, strict=True):
        assert each.url.isascii()
        assert Path(os.fsdecode(path)).read_bytes() == JPEG + os.path.basename(path)
        assert each.provenance["source_id"].encode().decode() == each.provenance["source_id"]
        assert checker._path_of(each.url) == path
    assert len({each.provenance["source_id"] for each in found}) == len(ODD_NAMES)


def test_every_folder_is_a_class_of_its_own_whatever_its_bytes(root: Path) -> None:
    names = [
        b"caf\xe9",
        b"caf\xe8",
        "caf\u00e9".encode(),
        "cafe\u0301".encode(),
        b"a\nb",
        b"a b",
        b"%C3%A9",
    ]
    for name in names:
        put_raw(os.path.join(os.fsencode(root), name), b"1.jpg")
    found, _ = read_all(build("folder", str(root), {"labels": "folder"}, ""))
    labels = [f.label for f in found]
    assert {"caf\\xe9", "caf\\xe8", "caf\u00e9", "cafe\u0301", "a\\nb", "a b", "%C3%A9"} == {
        *labels
    }
    assert len({*map(class_folder, labels)}) == len(names)


def test_a_folder_of_other_bytes_is_refused_by_a_message_that_can_be_printed(
    root: Path, settings
) -> None:
    outside = os.fsdecode(b"/nowhere/caf\xe9")
    settings.CRAWL_FOLDER_ROOTS = [str(root), os.fsdecode(b"/srv/\xff")]
    for place in (outside, f"{root}/{outside}", location_of(Path(outside))):
        with pytest.raises(SourceRefused) as refused:
            build("folder", place, {}, "").check()
        assert "caf\\xe9" in refused.value.message.encode().decode()


def test_a_link_of_other_bytes_does_not_lead_out(root: Path, tmp_path: Path) -> None:
    put_raw(os.fsencode(tmp_path) + b"/secret\xe9", b"1.jpg")
    os.symlink(os.fsencode(tmp_path) + b"/secret\xe9", os.fsencode(root) + b"/folder\xe9")
    os.symlink(os.fsencode(tmp_path) + b"/secret\xe9/1.jpg", os.fsencode(root) + b"/caf\xe9.jpg")
    found, rejected = read_all(build("folder", str(root), {}, ""))
    assert found == []
    assert rejected == [("caf\\xe9.jpg", "a link that leaves the folder")]
    with pytest.raises(SourceRefused, match="outside"):
        build("folder", f"file://{root}/folder%E9", {}, "").check()


def test_a_list_of_other_bytes_is_read(root: Path) -> None:
    path = os.fsencode(root) + b"/li\xe9?ste#\n.csv"
    with open(path, "wb") as file:
        file.write(b"url\nhttps://example.com/a.jpg\n" + f"file://{root}/caf%E9.jpg\n".encode())
    found, _ = read_all(build("urls", location_of(Path(os.fsdecode(path))), {}, ""))
    assert [f.url for f in found] == [
        "https://example.com/a.jpg",
        f"file://{root}/caf%E9.jpg",
    ]


@pytest.mark.parametrize("limit", [1, 1000])
def test_a_list_of_paths_may_name_files_of_any_bytes(root: Path, limit: int) -> None:
    """As `find` prints them. What is no path must be in the list's encoding as ever."""
    paths = [os.fsencode(root) + b"/caf\xe9%20.jpg", os.fsencode(root) + "/é.jpg".encode()] * 20
    lines = [*paths, b"/etc/caf\xe9.jpg", b"https://example.com/\xe9.jpg"]
    (root / "list.txt").write_bytes(b"\n".join(lines))
    found, rejected = read_all(lambda: build("urls", f"{root}/list.txt", {}, ""), limit=limit)
    assert [os.fsencode(path_of(f.url)) for f in found] == paths
    assert [why.partition(" at ")[0] for _, why in rejected] == [
        "the file is outside CRAWL_FOLDER_ROOTS",
        "not valid utf-8",
    ]


def test_a_closed_sub_folder_is_named_and_the_rest_is_read(root: Path, monkeypatch) -> None:
    put(root, "a/1.jpg", "b/1.jpg", "c/1.jpg")
    real = os.scandir

    def scandir(folder: int):
        if os.readlink(f"/proc/self/fd/{folder}").endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)  # root may list everything
    found, rejected = read_all(lambda: build("folder", str(root), {}, ""), limit=1)
    assert below(root, found) == ["a/1.jpg", "c/1.jpg"]
    assert rejected == [("b", "a folder that cannot be listed: Permission denied")]


@pytest.mark.parametrize("swapped", ["b", ""])
def test_a_folder_that_is_swapped_for_a_link_while_it_is_read_is_not_left(
    root: Path, tmp_path: Path, swapped: str
) -> None:
    put(root, "pictures/a/1.jpg", "pictures/b/2.jpg")
    put(tmp_path / "secret", "b/secret.jpg", "secret.jpg")
    source = build("folder", str(root / "pictures"), {}, "")
    steps = source.walk(None)
    read = list(next(steps).found)

    folder = root / "pictures" / swapped
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "secret" / swapped)

    pages = list(steps)
    read += [found for page in pages for found in page.found]
    assert below(root, read) == ["pictures/a/1.jpg"]
    assert [entry for page in pages for entry, _ in page.rejected] == ["b"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("/etc", "CRAWL_FOLDER_ROOTS"),
        ("{root}/../..", "outside the folders"),
        ("file:///etc", "outside the folders"),
        ("relative/folder", "not an absolute path"),
        ("{root}\0/a", "not an absolute path"),
        ("file://host/share", "file:///"),
        ("{root}/nothing", "not a folder"),
        ("{root}/file.jpg", "not a folder"),
    ],
)
def test_other_places_are_refused_by_name(root: Path, location: str, why: str) -> None:
    put(root, "file.jpg")
    with pytest.raises(SourceRefused) as refused:
        build("folder", location.format(root=root), {}, "").check()
    assert refused.value.field == "location"
    assert why in refused.value.message


def test_without_roots_no_folder_is_read(root: Path, settings) -> None:
    settings.CRAWL_FOLDER_ROOTS = []
    source = build("folder", str(root), {}, "")
    for attempt in (source.check, lambda: source.read(None)):
        with pytest.raises(SourceRefused, match="CRAWL_FOLDER_ROOTS"):
            attempt()


def test_a_link_to_a_forbidden_folder_is_as_forbidden(root: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret/1.jpg")
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceRefused, match="outside"):
        build("folder", str(root / "link"), {}, "").check()


@pytest.mark.parametrize(
    ("kind", "location", "options", "field"),
    [
        ("ftp", "/a", {}, "kind"),
        ("folder", "  ", {}, "location"),
        ("folder", "/a", {"lables": "folder"}, "options.lables"),
        ("folder", "/a", {"labels": True}, "options.labels"),
        ("urls", "/a.csv", {"format": "xls"}, "options.format"),
        ("page", "http://example.com", {"max_pages": True}, "options.max_pages"),
        ("page", "http://example.com", {"follow_links": "yes"}, "options.follow_links"),
    ],
)
def test_unknown_kinds_and_options_are_refused_by_name(kind, location, options, field) -> None:
    with pytest.raises(SourceRefused) as refused:
        build(kind, location, options, "")
    assert refused.value.field == field


def test_only_folder_labels_exist(root: Path) -> None:
    with pytest.raises(SourceRefused, match="folder"):
        build("folder", str(root), {"labels": "file"}, "").check()
