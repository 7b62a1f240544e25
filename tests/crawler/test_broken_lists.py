"""Lists that break off, or are damaged in places: what can be read is read, and the rest is named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from crawler.errors import SourceRefused
from crawler.sources import build
from tests.crawler.reading import read_all

ROWS = 20_000
CSV = ("url,title\n" + "".join(f"https://e.com/{n}.jpg,t{n}\n" for n in range(ROWS))).encode()
JSONL = "".join(json.dumps({"url": f"https://e.com/{n}.jpg"}) + "\n" for n in range(ROWS)).encode()
PACKED = gzip.compress(CSV, mtime=0)
WIDE = CSV.decode().encode("utf-16")
MIDDLE = len(PACKED) // 2


def changed(data: bytes, place: int, by: bytes) -> bytes:
    return data[:place] + by + data[place + len(by) :]


@pytest.fixture
def write(tmp_path: Path, settings) -> Callable[[str, bytes], Path]:
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]
    settings.PIXSIM_HOME = tmp_path / "home"

    def written(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return written


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("zero.csv", changed(CSV, 1000, b"\0"), "control character U+0000"),
        ("zero.jsonl", changed(JSONL, 1000, b"\0"), "not a JSON object or text"),
        ("zero.txt", changed(CSV, 1000, b"\0"), "control character U+0000"),
        ("tail.csv", CSV + bytes(9999), "does not start with http"),
        ("quote.csv", CSV.replace(b",t50\n", b',"t50\n'), "field larger than field limit"),
        ("quotes.csv", CSV.replace(b",t19999\n", b',"t19999\n'), "never closed"),
        ("cut.jsonl", JSONL[:-9], "not a JSON object or text"),
        ("bytes.jsonl", changed(JSONL, 1000, b"\xff\xfe"), "not valid utf-8 at byte 1000"),
    ],
)  # fmt: skip
def test_a_row_that_is_damaged_costs_itself(
    write: Callable[[str, bytes], Path], name: str, content: bytes, why: str
) -> None:
    source = build("urls", str(write(name, content)), {}, "")
    source.check()
    found, rejected = read_all(source)
    assert len(found) >= ROWS - 1
    reasons = {reason for entry, reason in rejected if entry != "row 1: url,title"}
    assert [why in reason for reason in reasons] == [True]


@pytest.mark.parametrize(
    ("name", "content", "rows", "why"),
    [
        ("cut.csv.gz", PACKED[:MIDDLE], None, "gzip data is damaged: it is cut off"),
        ("cut.jsonl.gz", gzip.compress(JSONL)[:-9], ROWS, "gzip data is damaged: it is cut off"),
        ("wrong.csv.gz", changed(PACKED, MIDDLE, b"\xff" * 50), None, "gzip data is damaged: Error"),
        ("sum.csv.gz", PACKED[:-8] + bytes(8), ROWS, "gzip data is damaged: Error"),
        ("wide.csv", changed(WIDE, 400_000, b"\0\xd8\0\xd8"), None, "not valid utf-16 near byte 40"),
        ("two.csv.gz", PACKED + PACKED[:MIDDLE], None, "gzip data is damaged: it is cut off"),
    ],
)  # fmt: skip
def test_what_breaks_off_is_kept_up_to_its_last_whole_row(
    write: Callable[[str, bytes], Path], name: str, content: bytes, rows: int | None, why: str
) -> None:
    source = build("urls", str(write(name, content)), {}, "")
    source.check()
    addresses: list[str] = []
    cursor, refused = None, None
    while refused is None:
        try:
            page = source.read(cursor)
        except SourceRefused as error:
            refused = error.message
        else:
            addresses += [one.url for one in page.found]
            cursor = json.loads(json.dumps(page.cursor))
    assert why in refused
    assert f"its rows up to {cursor['row'] - 1:,} were read" in refused
    assert addresses[: ROWS // 4] == [f"https://e.com/{n}.jpg" for n in range(ROWS // 4)]
    assert rows is None or rows - 1 <= len(addresses) <= rows
    # Another worker, which finds the unpacked list, knows it too.
    with pytest.raises(SourceRefused, match=why):
        build("urls", str(source.location), {}, "").read(cursor)


def test_a_text_of_parquet_that_is_none_costs_its_row(write: Callable[[str, bytes], Path]) -> None:
    good = b"https://e.com/1.jpg"
    texts = pa.array([good, b"https://e.com/\xff\xfe", good])
    wrong = pa.StringArray.from_buffers(3, *texts.buffers()[1:])
    times = pa.array([0, 1, 2**62], pa.timestamp("us"))
    path = write("l.parquet", b"")
    parquet.write_table(pa.table({"url": wrong, "title": times, "creator": ["a", "b", "c"]}), path)
    page = build("urls", str(path), {}, "").read(None)
    assert [one.url for one in page.found] == [good.decode()]
    assert [(entry, why[:21]) for entry, why in page.rejected] == [
        ("row 2:", "a cell that is no val"), ("row 3:", "a cell that is no val"),
    ]  # fmt: skip


def test_a_damaged_row_group_is_named_and_those_before_it_are_kept(
    write: Callable[[str, bytes], Path],
) -> None:
    path = write("l.parquet", b"")
    table = pa.table({"url": [f"https://e.com/{n}.jpg" for n in range(3000)]})
    parquet.write_table(table, path, row_group_size=1000)
    place = parquet.read_metadata(path).row_group(2).column(0).data_page_offset
    path.write_bytes(changed(path.read_bytes(), place, bytes(500)))
    source = build("urls", str(path), {}, "")
    page = source.read(None, limit=5000)
    assert len(page.found) == 2000
    with pytest.raises(SourceRefused, match="damaged in row group 2, after row 2,000: "):
        source.read(page.cursor)


def test_what_follows_packed_data_is_not_read(write: Callable[[str, bytes], Path]) -> None:
    source = build("urls", str(write("l.csv.gz", PACKED + bytes(99) + b"more")), {}, "")
    found, rejected = read_all(source)
    assert (len(found), rejected) == (ROWS, [])
