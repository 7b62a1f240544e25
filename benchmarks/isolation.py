"""What it costs to parse in a confined process: processor time of both processes, in turns.

    python -m benchmarks.isolation

Starting a process counts: a tenth of a second, shared by all that a source has in a slice of discovery.
"""

import csv
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
from pyarrow import parquet

from crawler import robots_file
from crawler.parsing import document_child
from crawler.parsing.documents import Documents
from crawler.sources.urls.confined_list import ConfinedList
from crawler.sources.urls.parquet import ParquetList
from crawler.sources.urls.text import TextList

PAIRS = 7
PAGES, FILES, ROWS = 400, 8000, 200_000
WANTED = ["url", "title"]
ENTRY = b"<p>some words</p><a href=/p%d><img src=/%d.jpg alt='Picture'></a>"
PAGE = b"".join(ENTRY % (n, n) for n in range(100))
ROBOTS = b"User-agent: *\n" + b"".join(b"Disallow: /private/%d/*.html\n" % n for n in range(50))
KNOWN = ("text/html", "https://example.com/")


def parse_here(folder: str) -> dict[str, Callable[[], object]]:
    return {
        "page": lambda: [
            [*document_child.page_rows(PAGE, *KNOWN, "a", True)] for _ in range(PAGES)
        ],
        "robots.txt": lambda: [robots_file.parse(ROBOTS, "a") for _ in range(FILES)],
        "row of csv": lambda: exhaust(
            TextList(open(f"{folder}/list.csv", "rb"), format="csv", encoding="utf-8")
        ),
        "row of parquet": lambda: exhaust(ParquetList(open(f"{folder}/list.parquet", "rb"))),
    }


def parse_confined(folder: str) -> dict[str, Callable[[], object]]:
    def documents(work: Callable[[Documents], object]) -> None:
        there = Documents()
        work(there)
        there.close()

    def read(format: str) -> None:
        path = Path(folder, f"list.{format}")
        with ConfinedList(path, format=format, encoding="utf-8", delimiter="") as there:
            exhaust(there)

    def pages(there: Documents) -> Iterator[object]:
        return (list(there.page(PAGE, *KNOWN, token="a", wants_links=True)) for _ in range(PAGES))

    return {
        "page": lambda: documents(lambda there: list(pages(there))),
        "robots.txt": lambda: documents(
            lambda there: [there.robots([ROBOTS] * 16, "a") for _ in range(FILES // 16)]
        ),
        "row of csv": lambda: read("csv"),
        "row of parquet": lambda: read("parquet"),
    }


def exhaust(reader: ConfinedList | TextList | ParquetList) -> None:
    for _ in reader.rows(None, WANTED):
        pass


def cpu(work: Callable[[], object]) -> float:
    def used() -> float:
        both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in both)

    begin = used()
    work()
    return used() - begin


def main() -> None:
    units = {"page": PAGES, "robots.txt": FILES, "row of csv": ROWS, "row of parquet": ROWS}
    with tempfile.TemporaryDirectory() as folder:
        rows = [(f"https://example.com/{n}.jpg", f"Picture number {n}") for n in range(ROWS)]
        table = dict(zip(WANTED, map(list, zip(*rows, strict=True)), strict=True))
        parquet.write_table(pyarrow.table(table), f"{folder}/list.parquet")
        with open(f"{folder}/list.csv", "w", newline="") as file:
            csv.writer(file).writerows([WANTED, *rows])
        here, confined = parse_here(folder), parse_confined(folder)
        for name, unit in units.items():
            pairs = [(cpu(here[name]), cpu(confined[name])) for _ in range(PAIRS)]
            old, new = (statistics.median(each) / unit * 1e6 for each in zip(*pairs, strict=True))
            print(f"{name:15} {old:8.1f} µs, confined {new:8.1f} µs")


if __name__ == "__main__":
    main()
