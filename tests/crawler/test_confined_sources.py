"""Untrusted input is parsed in confined processes: what ends one of them ends only its own source."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import parquet

from crawler.errors import SourceRefused
from crawler.models import CrawlJob, CrawlSource
from crawler.parsing import documents, parser
from crawler.robots import Robots
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from crawler.sources import build
from crawler.sources.urls import confined_list
from pixsim.core.confined import process
from tests.crawler.in_process import wait_until, working
from tests.crawler.local_site import Answer, Site
from tests.crawler.reading import read_all

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
    table = {"url": [good, "x" * 500_000, good], "title": ["t", None, "y" * 60_000]}
    parquet.write_table(pa.table(table), path)
    page = build("urls", str(path), {}, "").read(None)
    assert [found.url for found in page.found] == [good, good]
    assert page.rejected == [("row 2:", "a cell of more than 400 kB")]


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("crawler.sources.urls.reading", (0, "parquet", "utf-8", "", False)),
        ("crawler.sources.urls.reading", (0, "csv", "cp932", "", False)),
        ("crawler.parsing.document_child", ()),
    ],
)
def test_a_parser_is_confined_when_it_has_one_thread(
    folder: Path, module: str, options: tuple[object, ...]
) -> None:
    code = (
        "import importlib, os\n"
        f"importlib.import_module({module!r}).prepare(*{options!r})\n"
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


@pytest.fixture
def site(settings) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_HONOUR_ROBOTS = True
    settings.CRAWL_HOST_RATE = 1000.0
    with Site() as site:
        yield site


def html(body: str) -> Answer:
    return Answer(body, headers={"Content-Type": "text/html"})


def urlset(*places: str) -> str:
    return "<urlset>" + "".join(f"<url><loc>{p}</loc></url>" for p in places) + "</urlset>"


def test_a_page_that_ends_its_parser_is_rejected_and_the_others_are_read(
    site: Site, monkeypatch
) -> None:
    monkeypatch.setattr(documents, "MODULE", POISONED)
    site.routes["/"] = html("<a href=/1>1</a><a href=/2>2</a><a href=/3>3</a>")
    site.routes["/1"] = html("<img src=a.jpg><img src=CRASH.jpg>")
    site.routes["/2"] = html("<img src=COMPUTE.jpg>")
    site.routes["/3"] = html("<img src=b.jpg>")
    source = build("page", f"{site.url}/", {"follow_links": True}, "")
    page = source.read(None)
    source.close()
    assert [found.url for found in page.found] == [f"{site.url}/b.jpg"]
    assert [(entry.removeprefix(site.url), why) for entry, why in page.rejected] == [
        ("/1", "its parser died: it ended by signal 11"),
        ("/2", "its parser died: it used more processor time than allowed"),
    ]


def test_three_documents_that_end_their_parser_end_the_source(site: Site, monkeypatch) -> None:
    """However its reading is divided among slices and workers."""
    monkeypatch.setattr(documents, "MODULE", POISONED)
    links = "".join(f"<a href=/{n}>{n}</a>" for n in range(1, 9))
    site.routes["/"] = html(f"<img src=a.jpg>{links}")
    site.routes |= {f"/{n}": html("<img src=CRASH.jpg>") for n in range(1, 9)}
    read = partial(build, "page", f"{site.url}/", {"follow_links": True}, "")
    with pytest.raises(SourceRefused, match=r"3 of its documents ended their parser; .*signal 11"):
        read_all(read, limit=1)
    assert "/4" not in site.asked


def test_a_sitemap_that_ends_its_parser_is_rejected_and_the_others_are_read(
    site: Site, monkeypatch
) -> None:
    monkeypatch.setattr(documents, "MODULE", POISONED)
    children = "".join(f"<sitemap><loc>/{n}.xml</loc></sitemap>" for n in (1, 2))
    site.routes["/sitemap.xml"] = f"<sitemapindex>{children}</sitemapindex>"
    many = [f"https://e.com/{n}.jpg" for n in range(1100)]
    site.routes["/1.xml"] = urlset(*many, "https://e.com/CRASH.jpg", "https://e.com/late.jpg")
    site.routes["/2.xml"] = urlset("https://e.com/good.jpg")
    source = build("sitemap", f"{site.url}/sitemap.xml", {}, "")
    page = source.read(None, limit=5000)
    source.close()
    assert [found.url for found in page.found] == [*many[:1000], "https://e.com/good.jpg"]
    assert page.rejected == [(f"{site.url}/1.xml", "its parser died: it ended by signal 11")]

    site.routes["/sitemap.xml"] = urlset(*many, "https://e.com/CRASH.jpg")
    source = build("sitemap", f"{site.url}/sitemap.xml", {}, "")
    page = source.read(None, limit=5000)
    assert len(page.found) == 1000
    with pytest.raises(SourceRefused, match="its parser died"):
        source.read(page.cursor)
    source.close()


def test_a_sitemap_is_read_on_by_another_process(site: Site) -> None:
    site.routes["/sitemap.xml"] = urlset(*(f"https://e.com/{n}.jpg" for n in range(2500)))
    before = children()
    source = build("sitemap", f"{site.url}/sitemap.xml", {}, "")
    page = source.read(None)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    rest = source.read(page.cursor, limit=5000)
    source.close()
    found = [*page.found, *rest.found]
    assert [one.url for one in found] == [f"https://e.com/{n}.jpg" for n in range(2500)]
    assert site.asked == ["/sitemap.xml"]
    assert children() <= before


def test_a_robots_txt_that_ends_its_parser_closes_its_own_site_and_the_loop_never_waits(
    monkeypatch,
) -> None:
    monkeypatch.setattr(documents, "MODULE", POISONED)
    closing = "User-agent: *\nDisallow: /closed"
    files = {"a": closing, "b": "CRASH", "c": closing, "d": "COMPUTE", "e": closing}

    async def fetch(url: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(body=files[url[7]].encode())

    async def ask() -> tuple[list[tuple[bool, str]], list[float]]:
        robots = Robots(user_agent="PixSim/1")
        pauses: list[float] = []

        async def tick() -> None:
            while True:
                begin = time.monotonic()
                await asyncio.sleep(0.01)
                pauses.append(time.monotonic() - begin)

        ticking = asyncio.create_task(tick())
        try:
            wanted = (robots.allowed(fetch, f"http://{name}.com/closed") for name in files)
            return await asyncio.gather(*wanted), pauses
        finally:
            ticking.cancel()
            robots.close()

    answers, pauses = asyncio.run(ask())
    assert answers == [
        (False, "robots.txt disallows pixsim"),
        (False, "robots.txt cannot be read: its parser died: it ended by signal 11"),
        (False, "robots.txt disallows pixsim"),
        (
            False,
            "robots.txt cannot be read: its parser died: it used more processor time than allowed",
        ),
        (False, "robots.txt disallows pixsim"),
    ]
    assert len(pauses) > 30


@pytest.mark.parametrize(
    "answer",
    [
        [[], 0, []],
        [[[True, "/"]] * 2001, 0, [], ""],
        [[[True, "/é"]], 0, [], ""],
        [[[True, 1]], 0, [], ""],
        [[], -1, [], ""],
        [[], "1", [], ""],
        [[], 10**400, [], ""],
        [[], 0, [], "a" * 2000],
    ],
)
def test_rules_that_a_taken_over_parser_answers_are_refused(monkeypatch, answer) -> None:
    monkeypatch.setattr(parser.Confined, "ask", answering(answer))
    with pytest.raises(ValueError, match=r"(Error|BadUrl): "):
        documents.Documents().robots([b""], "pixsim")


@pytest.mark.parametrize(
    "row",
    [
        ["picture", "file:///etc/passwd", ""],
        ["picture", "http://e.com/a b", ""],
        ["link", "javascript:x", ""],
        ["other", "", ""],
        ["picture", "http://e.com/", "a" * 2000],
        ["picture", "http://e.com/"],
    ],
)
def test_rows_of_a_page_that_a_taken_over_parser_answers_are_refused(monkeypatch, row) -> None:
    monkeypatch.setattr(parser.Confined, "ask", answering({"rows": [row], "end": True}))
    with pytest.raises(ValueError, match=r"(Error|BadUrl): "):
        list(documents.Documents().page(b"", "", "http://e.com/", token=None, wants_links=True))


@pytest.mark.parametrize(
    "row",
    [
        ["", "", [{"image": 1}]],
        ["", "", [{"other": "x"}]],
        ["", "", [{}] * 51],
        ["", 1, []],
        ["a" * 9000, "", []],
    ],
)
def test_entries_that_a_taken_over_parser_answers_are_refused(monkeypatch, row) -> None:
    monkeypatch.setattr(parser.Confined, "ask", answering({"rows": [row], "end": True}))
    with pytest.raises(ValueError, match=r"(Error|BadUrl): "):
        list(documents.Documents().entries(b"", 0))


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
        pytest.raises(ValueError, match=r"(Error|BadUrl): "),
    ):
        list(opened.rows(None, ["url"]))


def answering(answer):
    def ask(self, header, body, *, check, **limits):
        yield check(answer, b"")

    return ask
