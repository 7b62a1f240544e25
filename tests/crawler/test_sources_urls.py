"""Lists of addresses are read whatever they look like, and what is broken is named by its row."""

import csv
import gzip
import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.sources import build
from crawler.sources.base import MAX_CAPTION, Found, Source
from crawler.sources.urls import list_files
from crawler.sources.urls.rows import Row
from crawler.sources.urls.text import MAX_COLUMNS, TextList
from pixsim.core.text import MOST_JSON
from tests.crawler.local_site import Answer, Site
from tests.crawler.reading import read_all

A, B, C = (f"https://example.com/{name}.jpg" for name in "abc")

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, settings) -> Write:
    """Write a list into a folder that may be read; returns its path."""
    settings.PIXSIM_HOME = tmp_path / "home"
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]

    def write(name: str, content: str | bytes, encoding: str = "utf-8") -> str:
        raw = content if isinstance(content, bytes) else content.encode(encoding)
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return str(tmp_path / name)

    return write


@pytest.fixture
def site(write: Write, settings) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    with Site() as site:
        yield site


def urls(location: str, **options: object) -> Source:
    return build("urls", location, options, "cats")


def addresses(found: list[Found]) -> list[str]:
    return [f.url for f in found]


def refusal(source: Source) -> SourceRefused:
    """The same refusal before the job and, if nobody asked then, while reading."""
    with pytest.raises(SourceRefused) as while_reading:
        source.read(None)
    with pytest.raises(SourceRefused) as before:
        source.check()
    assert str(before.value) == str(while_reading.value)
    return before.value


PLAIN = {
    "list.txt": f"# ours\n{A}\n\n  {B}\t ignored\r\n{C}",
    "list.csv": f"url\n{A}\n{B}\n{C}\n",
    "no-header.csv": f"{A}\n{B}\n{C}",
    "other-name.csv": f'link\n"{A}"\r\n{B}\r\n\r\n{C}\r\n',
    "many.csv": f"name,URL,more\nx,{A},1\ny,{B},2\nz,{C}\n",
    "list.tsv": f'words\turl\n"stray\t{A}\nb\t{B}\nc\t{C}\n',
    "list.jsonl": f'{{"url": "{A}", "n": 1}}\n\n{{"url": "{B}"}}\n{{"n": [1], "url": "{C}"}}\n',
    "texts.ndjson": f'"{A}"\n"{B}"\n"{C}"\n',
}


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", PLAIN)
def test_every_text_format_is_read_packed_or_not(write: Write, name: str, packed: str) -> None:
    location = write(name + packed, PLAIN[name])
    urls(location).check()
    found, rejected = read_all(urls(location))
    assert addresses(found) == [A, B, C]
    assert rejected == []
    assert [f.provenance for f in found] == [{"source": "urls"}] * 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_byte_order_mark_or_a_named_encoding_is_followed(write: Write, encoding: str) -> None:
    text = f"label,url\nÄpfel,{A}\r\nBäume,{B}\n"
    named = {} if encoding in ("utf-8-sig", "utf-16", "utf-32") else {"encoding": encoding}
    for name in ("list.csv", "list.csv.gz"):
        source = urls(write(name, text, encoding), label_column="label", **named)
        source.check()
        found, rejected = read_all(source, limit=1)
        assert [(f.url, f.label) for f in found] == [(A, "Äpfel"), (B, "Bäume")]
        assert rejected == []


def test_old_mac_line_ends_are_lines(write: Write) -> None:
    assert addresses(read_all(urls(write("mac.txt", f"{A}\r{B}\r{C}")))[0]) == [A, B, C]


def test_parquet_is_read_and_resumed_within_its_row_groups(write: Write, tmp_path: Path) -> None:
    count = 2500
    table = pa.table(
        {
            "url": [f"https://example.com/{n}.jpg" for n in range(count)],
            "label": pa.array([f"l{n % 3}" for n in range(count)]).dictionary_encode(),
            "pixels": list(range(count)),
        }
    )
    path = tmp_path / "list.parquet"
    parquet.write_table(table, path, row_group_size=1200)
    source = urls(str(path), label_column="label")
    source.check()
    for limit in (700, 1000):
        found, rejected = read_all(lambda: urls(str(path), label_column="label"), limit=limit)
        assert addresses(found) == table["url"].to_pylist()
        assert [f.label for f in found] == [f"l{n % 3}" for n in range(count)]
        assert rejected == []


def test_known_columns_become_the_provenance(write: Write) -> None:
    row = {
        "url": A, "License": "CC0", "license_url": "https://cc", "caption": " a\u0000b\n c ",
        "author": "Ann", "credit": "by Ann", "page_url": "https://p", "id": 7, "other": 1, "label": 3,
    }  # fmt: skip
    found, _ = read_all(urls(write("l.jsonl", json.dumps(row)), label_column="label"))
    assert found[0].label == "3"
    assert found[0].provenance == {
        "source": "urls", "licence": "CC0", "licence_url": "https://cc", "title": "a b c",
        "caption": "a\\0b\n c",
        "creator": "Ann", "attribution": "by Ann", "landing_page": "https://p", "source_id": "7",
    }  # fmt: skip


def test_addresses_of_the_provenance_are_kept_whole(write: Write) -> None:
    signed = "https://e.com/p%2f?sig=" + "a%2f" * 1000
    row = {"url": A, "landing_page": signed, "license_url": signed, "caption": signed}
    found, _ = read_all(urls(write("l.jsonl", json.dumps(row))))
    assert found[0].provenance["landing_page"] == found[0].provenance["licence_url"] == signed


CAPTIONS = [
    "a cat, a dog",
    'she said "hi",\n\nand left\ttoday',
    "🐈‍⬛ " * 25_000,
    "x" * MAX_CAPTION,
    "NA",
]
"""Of LAION's kind: commas, quotes, lines, emoji; and as long as one may be."""


def as_csv(rows: list[dict[str, object]], delimiter: str = ",", **options: Any) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], delimiter=delimiter, lineterminator="\n", **options)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_parquet(rows: list[dict[str, object]]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


WRITERS: dict[str, Callable[[list[dict[str, object]]], str | bytes]] = {
    "l.csv": as_csv,
    "quoted.csv": lambda rows: as_csv(rows, quoting=csv.QUOTE_ALL),
    "quoted.tsv": lambda rows: as_csv(rows, "\t", quoting=csv.QUOTE_ALL),
    "l.tsv": lambda rows: as_csv(rows, "\t"),
    "l.jsonl": lambda rows: "\n".join(map(json.dumps, rows)),
    "l.parquet": as_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_captions_are_kept_whole(write: Write, name: str) -> None:
    rows = [{"URL": f"{A}?{n}", "TEXT": caption} for n, caption in enumerate(CAPTIONS)]
    rows.append({"URL": B, "TEXT": "x" * (MAX_CAPTION + 1)})
    rows.append({"URL": C, "TEXT": None})
    found, rejected = read_all(urls(write(name, WRITERS[name](rows))))
    said = [f.provenance for f in found]
    assert [each.get("caption") for each in said] == [*map(str.strip, CAPTIONS), None]
    assert [each.get("title", "") for each in said][:2] == [
        "a cat, a dog",
        'she said "hi", and left today',
    ]
    assert [why for _, why in rejected] == ["its caption has more than 100,000 characters"]


HEADERS = [
    "URL,TEXT", "url,text", " url , Text ", "\ufeffurl,caption", '\ufeff"URL","TEXT"', "image_url,caption",
    "Image URL,Alt Text", "img-url,ALT", '"url", "TEXT"', "URL,TEXT,URL,TEXT",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("name", ["l.csv", "l.tsv"])
def test_columns_are_known_however_their_names_are_written(
    write: Write, header: str, name: str
) -> None:
    space = " " if '", "' in header else ""
    row = f'{A},{space}"one, two",{B},no\n'
    if name == "l.tsv":
        header, row = header.replace(",", "\t"), f"{A}\tone, two\t{B}\tno\n"
    found, rejected = read_all(urls(write(name, f"{header}\n{row}")))
    assert [(f.url, f.provenance.get("caption")) for f in found] == [(A, "one, two")]
    assert rejected == []
    assert read_all(urls(write(f"header-only-{name}", f"{header}\n"))) == ([], [])


def test_a_title_and_a_caption_are_two_things(write: Write) -> None:
    rows = [{"url": A, "title": "T", "caption": "C\nC"}, {"url": B, "caption": "only"}]
    found, _ = read_all(urls(write("l.jsonl", "\n".join(map(json.dumps, rows)))))
    assert [(f.provenance["title"], f.provenance["caption"]) for f in found] == [
        ("T", "C\nC"),
        ("only", "only"),
    ]


def test_keys_that_the_first_objects_lack_are_read(write: Write) -> None:
    rows = [{"url": A}] * 50 + [{"url": B, "Caption": "c", "kind": "cat"}]
    source = urls(write("l.jsonl", "\n".join(map(json.dumps, rows))), label_column="kind")
    found, _ = read_all(source)
    assert (found[-1].label, found[-1].provenance["caption"]) == ("cat", "c")
    assert {f.label for f in found[:-1]} == {""}


MISSING = [None, "", " ", "nan", "NaN", "null", "NULL", "None", "<NA>", float("nan")]
LARGE_AND_SMALL = [(1e20, "1" + "0" * 20), (1e-05, "0.00001"), (1e300, "1E+300")]
NUMBERS = [
    (1.0, "1"), (0.5, "0.5"), (-2.0, "-2"), (0.0, "0"), (7, "7"), (True, "True"), ("1.0", "1"),
    ("10", "10"), ("v1.0", "v1.0"), ("1.50", "1.50"), ("none", "none"), ("NA", "NA"), ("007", "007"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["l.csv", "l.jsonl"])
def test_a_missing_label_is_none_and_numbers_are_written_as_people_do(
    write: Write, name: str
) -> None:
    numbers = NUMBERS if name == "l.csv" else NUMBERS + LARGE_AND_SMALL
    labels = [*MISSING, *(value for value, _ in numbers)]
    rows = [{"url": f"{A}?{n}", "label": label, "id": label} for n, label in enumerate(labels)]
    found, rejected = read_all(urls(write(name, WRITERS[name](rows)), label_column="label"))
    assert rejected == []
    expected = [""] * len(MISSING) + [text for _, text in numbers]
    assert [f.label for f in found] == expected
    assert [f.provenance.get("source_id", "") for f in found] == expected


COLUMNS: list[tuple[pa.Array, list[str]]] = [
    (pa.array([1.0, None, float("nan"), 2.5], pa.float64()), ["1", "", "", "2.5"]),
    (pa.array([0.1, None, 3.0], pa.float32()), ["0.1", "", "3"]),
    (pa.array([Decimal("1.00"), Decimal("2.50"), None], pa.decimal128(9, 2)), ["1", "2.5", ""]),
    (pa.array([date(2020, 1, 31), None], pa.date32()), ["2020-01-31", ""]),
    (pa.array([datetime(2020, 1, 31, 5, 6)], pa.timestamp("us")), ["2020-01-31 05:06:00"]),
    (pa.array([b"caf\xc3\xa9", b"nan", None]), ["café", "", ""]),
    (pa.array([["cat"], [], None, ["a", "b"]]), ["cat", "", "", '["a", "b"]']),
    (pa.array([{"a": 1}, None]), ['{"a": 1}', ""]),
    (pa.array(["nan", "cat", None]).dictionary_encode(), ["", "cat", ""]),
    (pa.array([None, None], pa.null()), ["", ""]),
]


@pytest.mark.parametrize(("column", "labels"), COLUMNS, ids=[str(c.type) for c, _ in COLUMNS])
def test_labels_of_every_type_are_texts_that_people_would_write(
    write: Write, tmp_path: Path, column: pa.Array, labels: list[str]
) -> None:
    path = tmp_path / "l.parquet"
    addresses = [f"{A}?{n}" for n in range(len(labels))]
    parquet.write_table(pa.table({"URL": addresses, "kind": column}), path)
    found, rejected = read_all(urls(str(path), label_column="kind"))
    assert [f.label for f in found] == labels
    assert rejected == []


def test_a_page_of_long_captions_ends_early(write: Write) -> None:
    rows = [{"url": f"{A}?{n}", "text": "x" * MAX_CAPTION} for n in range(100)]
    location = write("l.jsonl", "\n".join(map(json.dumps, rows)))
    assert len(urls(location).read(None).found) == 41
    assert len(read_all(lambda: urls(location))[0]) == 100


def test_broken_rows_are_named_and_the_others_kept(write: Write) -> None:
    location = write("list.csv", f"n,url\n1,{A}\n2,ftp://x/a\n3\n4,\n5,http://\n6,{B}\n7,a b\n")
    found, rejected = read_all(urls(location))
    assert addresses(found) == [A, B]
    assert rejected == [
        ("row 3: ftp://x/a", "only http and https are fetched, not 'ftp'"),
        ("row 4:", "there is no address in this row"),
        ("row 5:", "there is no address in this row"),
        ("row 6: http://", "the address names no host"),
        ("row 8: a b", "the address does not start with http:// or https://"),
    ]


def test_quoted_cells_may_hold_commas_quotes_and_line_breaks(write: Write) -> None:
    location = write("l.csv", f'title,url\n"a, ""b""\nc",{A}\n"x\n\ny\n",{B}\nz,{C}\n')
    for limit in (1, 100):
        found, rejected = read_all(lambda: urls(location), limit=limit)
        assert addresses(found) == [A, B, C]
        assert [f.provenance["title"] for f in found] == ['a, "b" c', "x y", "z"]
        assert rejected == []


@pytest.mark.parametrize("rows_behind", [3, 10_000])
def test_a_quote_that_is_never_closed_costs_its_own_row_only(
    write: Write, rows_behind: int
) -> None:
    behind = "".join(f"t,https://example.com/{n}.jpg\n" for n in range(rows_behind))
    found, rejected = read_all(urls(write("l.csv", f'title,url\na,{A}\n"oops,{B}\n{behind}')))
    assert len(found) == rows_behind + 1
    assert len(rejected) == 1
    assert rejected[0][0].startswith('row 3: "oops')


def test_a_line_without_end_is_named_and_not_kept_in_memory(write: Write) -> None:
    for name in ("l.txt", "l.csv", "l.jsonl"):
        wrap = {"l.txt": "{}", "l.csv": "{}", "l.jsonl": '"{}"'}[name].format
        content = "\n".join([wrap(A), wrap("x" * 3_000_000), wrap(B)])
        found, rejected = read_all(urls(write(name, content)))
        assert addresses(found) == [A, B]
        assert rejected == [("row 2: " + (wrap("x" * 300))[:193], "longer than 1024 KiB")]


def test_json_that_is_no_address_is_named(write: Write) -> None:
    bad = ["{", "[1]", "null", '{"link": 1}', '{"url": 5}', "[" * 100_000, '"\\ud800"', "1" * 5000]
    found, rejected = read_all(urls(write("l.jsonl", "\n".join([json.dumps({"url": A}), *bad]))))
    assert addresses(found) == [A]
    assert [entry.partition(":")[0] for entry, _ in rejected] == [f"row {n}" for n in range(2, 10)]


def test_single_undecodable_rows_are_named_by_their_byte(write: Write) -> None:
    rows = [f"https://example.com/{n}.jpg".encode() for n in range(30)]
    rows[12] = b"https://example.com/\xe9.jpg"
    found, rejected = read_all(lambda: urls(write("l.txt", b"\n".join(rows))), limit=5)
    assert len(found) == 29
    [(entry, why)] = rejected
    assert entry.startswith("row 13: https://example.com/")
    assert why == f"not valid utf-8 at byte {len(b' '.join(rows[:12])) + 21} (0xE9)"


def test_a_list_in_another_encoding_is_refused_with_the_option_to_set(write: Write) -> None:
    refused = refusal(urls(write("l.csv", f"label,url\nÄpfel,{A}\nBäume,{B}\n", "latin-1")))
    assert refused.field == "options.encoding"
    assert "row 2" in refused.message
    assert "latin-1" in refused.message
    refused = refusal(urls(write("l.csv", f"Äpfel,url\nx,{A}\n", "latin-1")))
    assert refused.field == "options.encoding"


def test_an_encoding_that_changes_on_the_way_is_refused_there(write: Write) -> None:
    good = f"{A}\n" * 12_000
    location = write("l.txt", good.encode() + b"https://example.com/\xe9\n" * 12_000)
    source = urls(location)
    page = source.read(None, limit=8_000)
    page = source.read(page.cursor, limit=4_000)
    page = source.read(page.cursor, limit=8_000)
    assert (page.found, len(page.rejected)) == ([], 1333)
    with pytest.raises(SourceRefused, match=r"options.encoding: row 13334 is not valid utf-8"):
        source.read(page.cursor)


@pytest.mark.parametrize(
    ("name", "content", "options", "field", "why"),
    [
        ("l.csv", "", {}, "location", "empty"),
        ("l.csv.gz", "", {}, "location", "empty"),
        ("l.csv", f"a,b\n1,{A}\n", {}, "options.url_column", "no column 'url'; there are: 'a', 'b'"),
        ("l.csv", f"a\n{A}\n", {"url_column": "b"}, "options.url_column", "there are: 'a'"),
        ("l.csv", f"x,{A}\ny,{B}\n", {}, "options.url_column", "lack a row of column names"),
        ("l.csv", f"url\n{A}", {"label_column": "l"}, "options.label_column", "no column 'l'"),
        ("l.txt", A, {"label_column": "l"}, "options.label_column", "no column 'l'"),
        ("l.jsonl", '{"a": 1, "b": 2}', {}, "options.url_column", "there are: 'a', 'b'"),
        ("l.csv", f"url\n{A}", {"encoding": "klingon"}, "options.encoding", "klingon"),
        ("l.csv", f"url\n{A}", {"encoding": "base64"}, "options.encoding", "base64"),
        ("l.csv", f"url;label\n{A};cat", {}, "options.delimiter", "only column is 'url;label'"),
        ("l.csv", f"label\tImage URL\ncat\t{A}", {}, "options.delimiter", "the format tsv"),
        ("l.csv", f"sep=;\nurl;label\n{A};cat", {}, "options.delimiter", "'sep=;'"),
        ("l.tsv", f"url,label\n{A},cat", {}, "options.delimiter", "only column is 'url,label'"),
        ("l.csv", f"url\n{A}", {"delimiter": ";;"}, "options.delimiter", "one character"),
        ("l.xls", f"url\n{A}", {}, "options.format", "one of txt, csv"),
        ("l.csv", b"\x7fELF\x02\x00\x01\x00", {}, "location", "binary data (a zero at byte 5)"),
        ("l.csv", f"url\n{A}".encode("utf-16-le"), {}, "location", "UTF-16"),
        ("l.parquet", b"PAR1 is not all", {}, "location", "no sound Parquet file"),
        ("l.csv", b"PAR1\0\0", {}, "options.format", "Parquet"),
        ("l.parquet.gz", b"PAR1", {}, "location", "unpack it"),
        ("l.csv", gzip.compress(b"url\n" * 9, mtime=0)[:12], {}, "location", "gzip data is damaged"),
        ("l.csv", b"\x1f\x8b garbage", {}, "location", "gzip data is damaged"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_field_before_and_while_reading(
    write: Write, name: str, content: str | bytes, options: dict, field: str, why: str
) -> None:
    refused = refusal(urls(write(name, content), **options))
    assert refused.field == field
    assert why in refused.message


def test_lists_outside_the_roots_or_missing_are_refused(write: Write, tmp_path: Path) -> None:
    assert "CRAWL_FOLDER_ROOTS" in refusal(urls("/etc/passwd.txt")).message
    assert "no file" in refusal(urls(str(tmp_path / "nothing.csv"))).message
    assert "absolute" in refusal(urls("list.csv")).message


def test_a_local_list_names_files_inside_the_roots_only(write: Write, tmp_path: Path) -> None:
    write("é.jpg", b"")
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    rows = [f"{tmp_path}/é.jpg", f"file://{tmp_path}/%C3%A9.jpg", "/etc/passwd",
            "file:///etc/passwd", f"{tmp_path}/../x.jpg", f"{tmp_path}/link.jpg"]  # fmt: skip
    found, rejected = read_all(urls(write("l.txt", "\n".join(rows))))
    assert addresses(found) == [f"file://{tmp_path}/%C3%A9.jpg"] * 2
    assert [why for _, why in rejected] == ["the file is outside CRAWL_FOLDER_ROOTS"] * 4


def test_a_list_from_the_web_names_no_local_files(site: Site, tmp_path: Path) -> None:
    site.routes["/l.txt"] = f"/etc/passwd\nfile:///{tmp_path}/a.jpg\n{A}\n"
    found, rejected = read_all(urls(f"{site.url}/l.txt"))
    assert addresses(found) == [A]
    assert {why for _, why in rejected} == {
        "a list from the web may not name files of this machine"
    }


def test_a_list_from_the_web_is_downloaded_once_for_all_its_pages(site: Site) -> None:
    for name in ("l.csv", "l.csv.gz"):
        content = PLAIN["many.csv"].encode()
        site.routes[f"/{name}"] = gzip.compress(content) if name.endswith("gz") else content
        site.asked.clear()
        found, _ = read_all(lambda name=name: urls(f"{site.url}/{name}"), limit=1)
        assert addresses(found) == [A, B, C]
        assert site.asked == [f"/{name}"]


def in_parts(body: bytes, etag: Callable[[], str]) -> Callable[[Mapping[str, str]], Answer]:
    """Answers Range requests as nginx does."""

    def answer(headers: Mapping[str, str]) -> Answer:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
        tag = etag()
        if asked is None or headers.get("If-Range", tag) != tag:
            return Answer(body)
        first, last = int(asked[1]), min(int(asked[2]), len(body) - 1)
        content_range = f"bytes {first}-{last}/{len(body)}"
        return Answer(body[first : last + 1], 206, {"ETag": tag, "Content-Range": content_range})

    return answer


def test_a_large_list_comes_in_parts_where_the_server_can(site: Site, monkeypatch) -> None:
    monkeypatch.setattr(list_files, "PART_BYTES", 1000)
    rows = [f"https://example.com/{n}.jpg" for n in range(200)]
    site.routes["/l.txt"] = in_parts("\n".join(rows).encode(), lambda: '"same"')
    source = urls(f"{site.url}/l.txt")
    alive: list[None] = []
    source.progress = lambda: alive.append(None)
    found, _ = read_all(source)
    assert addresses(found) == rows
    assert len(site.asked) == 6
    assert len(alive) >= 6


def test_a_list_that_changes_between_two_parts_is_not_glued_together(
    site: Site, monkeypatch
) -> None:
    monkeypatch.setattr(list_files, "PART_BYTES", 1000)
    tags = iter(['"one"', '"two"'])
    site.routes["/l.txt"] = in_parts(f"{A}\n".encode() * 100, lambda: next(tags))
    with pytest.raises(SourceUnavailable, match="changed while"):
        urls(f"{site.url}/l.txt").read(None)
    assert not list((list_files._folder()).iterdir())


def test_another_machine_goes_on_with_the_same_list_and_begins_again_with_another(
    site: Site,
) -> None:
    site.routes["/l.txt"] = f"{A}\n{B}\n"
    first = urls(f"{site.url}/l.txt").read(None, limit=1)
    forget_lists()
    second = urls(f"{site.url}/l.txt").read(first.cursor, limit=5)
    assert addresses(second.found) == [B]

    forget_lists()
    site.routes["/l.txt"] = f"{C}\n{A}\n{B}\n"
    cursor = first.cursor
    again = urls(f"{site.url}/l.txt").read(cursor, limit=5)
    assert addresses(again.found) == [C, A, B]


def test_a_list_that_is_never_the_same_is_given_up(site: Site) -> None:
    count = iter(range(100))
    site.routes["/l.txt"] = lambda _: Answer(f"{A}\n{B}?{next(count)}\n")
    cursor = None
    for _ in range(4):
        cursor = urls(f"{site.url}/l.txt").read(cursor, limit=1).cursor
        forget_lists()
    with pytest.raises(SourceRefused, match="keeps changing"):
        urls(f"{site.url}/l.txt").read(cursor, limit=1)


def forget_lists() -> None:
    for path in list_files._folder().iterdir():
        path.unlink()


def test_a_list_that_is_not_there_is_refused_and_one_that_is_late_is_waited_for(
    site: Site,
) -> None:
    with pytest.raises(SourceRefused, match="HTTP 404"):
        urls(f"{site.url}/l.txt").read(None)
    site.routes["/l.txt"] = Answer(status=503, headers={"Retry-After": "7"})
    with pytest.raises(SourceUnavailable, match="HTTP 503") as late:
        urls(f"{site.url}/l.txt").read(None)
    assert late.value.retry_after == 7.0
    site.routes["/l.txt"] = A
    assert addresses(urls(f"{site.url}/l.txt").read(None).found) == [A]


def test_a_list_on_a_forbidden_address_is_refused(site: Site, settings) -> None:
    settings.CRAWL_ALLOWED_PRIVATE = []
    source = urls(f"{site.url}/l.txt")
    with pytest.raises(SourceRefused, match="CRAWL_ALLOWED_PRIVATE"):
        source.check()
    with pytest.raises(SourceRefused, match="CRAWL_ALLOWED_PRIVATE"):
        source.read(None)
    assert site.asked == []


def test_a_full_disk_is_waited_for(site: Site, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    site.routes["/l.txt"] = A
    monkeypatch.setattr(list_files, "_write", full)
    with pytest.raises(SourceUnavailable, match="No space left"):
        urls(f"{site.url}/l.txt").read(None)


def test_a_bomb_is_refused_before_it_fills_the_disk(write: Write, monkeypatch) -> None:
    monkeypatch.setattr(list_files, "MAX_LIST_BYTES", 3_000_000)
    location = write("bomb.txt.gz", b"\n" * 10 + A.encode() + b"\n" * 10_000_000)
    with pytest.raises(SourceRefused, match="split the list"):
        urls(location).read(None)
    assert not list(list_files._folder().iterdir())


def test_a_long_list_is_resumed_at_once_and_in_little_memory(write: Write) -> None:
    row = "https://example.com/{:09d}.jpg\n".format
    location = write("long.txt", "".join(map(row, range(300_000))))
    width = len(row(0))
    behind = {"byte": 299_000 * width, "row": 299_001, "bad": 0, "restarts": 0}
    size = Path(location).stat().st_size
    tracemalloc.start()
    page = urls(location).read({**behind, "list": f"{size} bytes"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert addresses(page.found)[0] == row(299_000).strip()
    assert len(page.found) == 1000
    assert peak < size / 2


def text_list(raw: bytes, format: str) -> TextList:
    return TextList(io.BytesIO(raw), format=format, encoding="utf-8")


def rows_one_by_one(raw: bytes, format: str) -> list[Row]:
    """All rows, each from a list that was opened anew at the cursor of the one before."""
    rows: list[Row] = []
    while True:
        reader = text_list(raw, format)
        row = next(reader.rows(rows[-1].cursor if rows else None, reader.columns), None)
        if row is None:
            return rows
        rows.append(row)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=12),
)
def test_any_cells_survive_csv_and_any_place_to_resume(titles: list[str]) -> None:
    cells = [t.replace("\0", "") for t in titles]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    raw = "\n".join(["title,url", *(f"{cell},{n}" for n, cell in enumerate(quoted))]).encode()
    rows = rows_one_by_one(raw, "csv")
    assert [row.values for row in rows] == [
        {"title": cell, "url": str(n)} for n, cell in enumerate(cells)
    ]


@given(st.binary(max_size=200), st.sampled_from(["txt", "csv", "tsv", "jsonl"]))
def test_any_bytes_are_read_the_same_in_pieces_or_refused(raw: bytes, format: str) -> None:
    try:
        reader = text_list(raw, format)
        whole = list(reader.rows(None, reader.columns))
    except SourceRefused:
        return
    assert rows_one_by_one(raw, format) == whole


def test_rows_and_lists_beyond_their_limits_are_refused_alone(write: Write) -> None:
    many = "," * MAX_COLUMNS
    found, rejected = read_all(urls(write("l.csv", f"url,title\n{A},a\n{B},{many}\n{A}?2,c\n")))
    assert addresses(found) == [A, f"{A}?2"]
    assert [why for _, why in rejected] == ["more than 1,000 columns"]
    cell = "x" * 200_000
    found, rejected = read_all(urls(write("c.csv", f"url,title\n{A},a\n{B},{cell}\n{A}?2,c\n")))
    assert addresses(found) == [A, f"{A}?2"]
    assert [why for _, why in rejected] == ["field larger than field limit (131072)"]
    values = json.dumps([0] * 2 * MOST_JSON, separators=(",", ":"))
    deep = "[" * 900 + "]" * 900
    rows = [f'{{"url": "{A}"}}', values, f'{{"url": "{B}", "title": {deep}}}', f'{{"url": {deep}}}']
    found, rejected = read_all(urls(write("l.jsonl", "\n".join(rows))))
    assert addresses(found) == [A, B]
    assert [why.partition(" does ")[0] for _, why in rejected] == [
        "not a JSON object or text",
        "the address",
    ]
    assert "1,000 columns" in str(refusal(urls(write("h.csv", f"url{many}\n"))))


@pytest.mark.parametrize("encoding", ["punycode", "idna", "unicode_escape", "utf-7"])
def test_only_encodings_of_texts_are_accepted(write: Write, encoding: str) -> None:
    assert refusal(urls(write("l.csv", f"url\n{A}"), encoding=encoding)).field == "options.encoding"
