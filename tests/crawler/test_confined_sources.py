"""What strangers send is parsed in confined processes: what ends one of them ends only its own source."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from crawler.errors import SourceRefused
from crawler.models import CrawlJob, CrawlSource
from crawler.parsing import parser
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from crawler.sources import build
from crawler.sources.urls import confined_list
from pixsim.core.confined import process
from tests.crawler.in_process import wait_until, working

PROJECT = Path(process.PROJECT)
POISONED = "tests.crawler.poisoned"


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    settings.PIXSIM_HOME = tmp_path / "home"
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]
    return tmp_path


def children() -> set[int]:
    """The confined processes of this one."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == os.getpid() and process.CHILD.encode() in command:
            found.add(int(stat.parent.name))
    return found


def listed(folder: Path, count: int, **words: int) -> str:
    """A list with each of the words in the row that is named."""
    rows = [f"https://example.com/{n}.jpg" for n in range(1, count + 1)]
    for word, row in words.items():
        rows[row - 1] = f"https://example.com/{word}.jpg"
    (folder / "list.txt").write_text("\n".join(rows))
    return str(folder / "list.txt")


@pytest.mark.parametrize(
    ("word", "how"),
    [
        ("CRASH", "signal 11"),
        ("COMPUTE", "more processor time than allowed"),
        ("WAIT", "no answer within 2 s"),
    ],
)
def test_what_ends_the_parser_of_a_list_ends_the_list_there(
    folder: Path, monkeypatch, word: str, how: str
) -> None:
    monkeypatch.setattr(confined_list, "MODULE", POISONED)
    monkeypatch.setattr(parser, "ANSWER_SECONDS", 2.0)
    before = children()
    source = build("urls", listed(folder, 1500, **{word: 1200}), {}, "")
    page = source.read(None, limit=2000)
    assert len(page.found) == 1000
    with pytest.raises(SourceRefused, match=f"unreadable after row 1000: its parser died: .*{how}"):
        source.read(page.cursor)
    assert children() <= before


def test_a_parser_that_somebody_kills_is_started_anew(folder: Path) -> None:
    before = children()
    source = build("urls", listed(folder, 2500), {}, "")
    page = source.read(None)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    rest = source.read(page.cursor, limit=2000)
    assert len(page.found) == 1000
    assert len(rest.found) == 1500
    source.close()
    assert children() <= before


@pytest.mark.django_db(transaction=True)
def test_a_poisoned_list_ends_alone_while_another_and_the_worker_go_on(
    folder: Path, monkeypatch, settings
) -> None:
    settings.QUEUE_BACKOFF_SECONDS = 0.05
    monkeypatch.setattr(confined_list, "MODULE", POISONED)
    poisoned = listed(folder, 1500, CRASH=1200)
    (folder / "good.txt").write_text(f"{folder}/a.jpg")
    before = children()
    specs = [SourceSpec("urls", poisoned), SourceSpec("urls", str(folder / "good.txt"))]
    job = accepting.create_crawl_job(owner=None, name="t", max_images=9, source_specs=specs)
    CrawlJob.objects.filter(pk=job.pk).update(status="running")
    with working():
        wait_until(
            lambda: not CrawlSource.objects.filter(status__in=["pending", "processing"]).exists()
        )
        job.refresh_from_db()
        ended_as = dict(CrawlSource.objects.values_list("location", "status"))
        CrawlJob.objects.filter(pk=job.pk).update(status="cancelled")
    assert ended_as == {poisoned: "failed", str(folder / "good.txt"): "completed"}
    ended = CrawlSource.objects.get(location=poisoned)
    assert ended.found == 1000
    assert "unreadable after row 1000" in ended.error_message
    assert children() <= before


def test_a_parquet_file_of_a_few_bytes_that_means_gigabytes_is_refused_by_size(
    folder: Path,
) -> None:
    path = folder / "bomb.parquet"
    value = pa.array(["x" * 2**24])
    urls = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), value)
    parquet.write_table(pa.table({"url": urls}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 5000
    source = build("urls", str(path), {}, "")
    source.check()
    with pytest.raises(SourceRefused, match="too large"):
        source.read(None)


def test_a_cell_has_a_cap(folder: Path) -> None:
    path = folder / "long.parquet"
    good = "https://example.com/a.jpg"
    table = {"url": [good, "x" * 100_000, good], "title": ["t", None, "y" * 60_000]}
    parquet.write_table(pa.table(table), path)
    page = build("urls", str(path), {}, "").read(None)
    assert [found.url for found in page.found] == [good, good]
    assert page.rejected == [("row 2:", "a cell of more than 64 KiB")]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_a_list_is_confined_when_it_has_one_thread(folder: Path, format: str) -> None:
    code = (
        "import os; from crawler.sources.urls import reading\n"
        f"reading.prepare(0, {format!r}, 'cp932', '', False)\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    (folder / "list").write_text("url\n")
    with open(folder / "list") as file:
        said = subprocess.run(
            [sys.executable, "-c", code],
            stdin=file,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            env=process.ENVIRONMENT,
            check=True,
        )
    assert said.stdout == b"1\n"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"rows": []},
        {"rows": [], "end": False},
        {"rows": [[1]], "end": True},
        {"rows": [[1, {"byte": -1}, None, "", ""]], "end": True},
        {"rows": [[1, {"list": 1}, None, "", ""]], "end": True},
        {"rows": [[1, {"byte": 2**70}, None, "", ""]], "end": True},
        {"rows": [["1", {}, None, "", ""]], "end": True},
        {"rows": [[1, {}, ["a"], "", ""]], "end": True},
        {"rows": [[1, {}, {"url": ["a"]}, "", ""]], "end": True},
        {"rows": [[1, {}, {"url": "a" * 9000}, "", ""]], "end": True},
        {"rows": [[1, {}, None, "a" * 9000, ""]], "end": True},
        {"rows": [[1, {}, None, "", ""]] * 1001, "end": True},
        {"refused": ["location"]},
        {"refused": ["location", "a" * 5000]},
        7,
    ],
)  # fmt: skip
def test_what_a_taken_over_parser_answers_is_refused(folder: Path, monkeypatch, answer) -> None:
    monkeypatch.setattr(parser.Confined, "ask", answering(answer))
    with (
        confined_list.ConfinedList(
            Path(listed(folder, 1)), format="txt", encoding="utf-8", delimiter=""
        ) as opened,
        pytest.raises(ValueError, match="Error: "),
    ):
        list(opened.rows(None, ["url"]))


def answering(answer):
    def ask(self, header, body, *, seconds, check):
        yield check(answer, b"")

    return ask
