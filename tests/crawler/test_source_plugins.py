"""A folder is a source: a new one needs no other file, and a missing one says so."""

import importlib
import io
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

import crawler.sources
from crawler.models import CrawlJob, CrawlSource, Image
from crawler.sources import all_sources, build, guess_kind
from tests.crawler.in_process import working
from tests.crawler.pictures import jpeg
from tests.crawler.test_admin_jobs import ADD, asked, errors_of

SHELF = """
from pathlib import Path

from crawler.errors import SourceRefused
from crawler.sources.base import Found, Option, Page, Source
from crawler.urls import file_url


class ShelfSource(Source):
    kind = "shelf"
    title = "pictures on a shelf"
    place = "shelf:FOLDER"
    known_options = (
        Option("row", str, "which row of the shelf"),
        Option("at_most", int, "how many pictures", default=100, at_most=100),
        Option("label", str, "an option that is called like a flag of the command"),
        Option("encoding", str, "an option that another source has too"),
    )

    @classmethod
    def fit(cls, location):
        return 5 if location.startswith("shelf:") else 0

    def check(self):
        if not self._folder().is_dir():
            raise SourceRefused("location", "there is no such shelf")

    def walk(self, cursor):
        done = cursor["done"] if cursor else 0
        pictures = sorted(self._folder().glob(f"{self.options['row'] or ''}*.jpg"))
        for number, path in enumerate(pictures[done : self.options["at_most"]], done + 1):
            yield Page({"done": number}, [Found(file_url(path), self.label)])

    def _folder(self):
        return Path(self.location.removeprefix("shelf:"))
"""


@pytest.fixture
def shelf(tmp_path: Path, settings, monkeypatch) -> Path:
    """A folder with pictures, and a source for it that is installed during the test."""
    folder = tmp_path / "plugins" / "shelf"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "source.py").write_text(SHELF)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(4):
        (pictures / f"{'ab'[seed % 2]}{seed}.jpg").write_bytes(jpeg(seed=seed))
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]
    location = str(tmp_path / "blobs")
    backend = {"BACKEND": "pixsim.core.blobs.local.BlobStorage", "OPTIONS": {"location": location}}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    path = [*crawler.sources.__path__, str(folder.parent)]
    monkeypatch.setattr(crawler.sources, "__path__", path)
    importlib.invalidate_caches()
    all_sources.cache_clear()
    yield pictures
    remove_shelf(monkeypatch)


def remove_shelf(monkeypatch) -> None:
    monkeypatch.undo()
    for name in ("crawler.sources.shelf", "crawler.sources.shelf.source"):
        sys.modules.pop(name, None)
    all_sources.cache_clear()


@pytest.mark.django_db(transaction=True)
def test_a_new_folder_is_crawled_by_command_with_flags_of_its_own(shelf, tmp_path):
    words = ["--source", "shelf", "--from", f"shelf:{shelf}", "--max-images", "2", "--row", "a"]
    with working(), pytest.raises(SystemExit) as ending:
        call_command("crawl", *words, "--at-most", "50", "--wait", stderr=io.StringIO())

    assert ending.value.code == 0
    assert CrawlSource.objects.get().options == {"row": "a", "at_most": 50}
    assert Image.objects.count() == 2


@pytest.mark.django_db
def test_an_option_that_is_called_like_another_flag_is_given_by_name(shelf):
    words = ["--source", "shelf", "--from", f"shelf:{shelf}", "--max-images", "2"]
    more = ["--label", "cats", "--option", "label=x", "--encoding", "utf-8"]
    call_command("crawl", *words, *more, stdout=io.StringIO())

    source = CrawlSource.objects.get()
    assert source.label == "cats"
    assert source.options == {"label": "x", "encoding": "utf-8"}
    with pytest.raises(CommandError, match="at-most: must be from 1 to 100"):
        call_command("crawl", *words, "--at-most", "101")


def test_the_help_of_the_command_explains_the_options(shelf, capsys):
    with pytest.raises(SystemExit):
        call_command("crawl", "--help")

    told = " ".join(capsys.readouterr().out.split())
    assert "shelf (pictures on a shelf)" in told
    assert "--row ROW" in told
    assert "shelf: which row of the shelf" in told
    assert "shelf: an option that another source has too; urls: the encoding of the list" in told


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["shelf", ""])
def test_a_new_folder_is_added_in_the_admin(admin_client, shelf, kind):
    page = admin_client.get(ADD).content.decode()
    assert '<option value="shelf">pictures on a shelf</option>' in page
    assert "which row of the shelf" in page

    wrong = asked(f"shelf:{shelf}/none", source_kind=kind)
    assert errors_of(admin_client.post(ADD, wrong)) == {"source location": "there is no such shelf"}
    right = asked(f"shelf:{shelf}", source_kind=kind, source_options='{"row": "b"}')
    assert admin_client.post(ADD, right).status_code == 302

    source = CrawlSource.objects.get()
    assert (source.kind, source.options) == ("shelf", {"row": "b"})


@pytest.mark.django_db(transaction=True)
def test_a_source_that_is_installed_no_longer_fails_with_a_clear_message(
    admin_client, shelf, monkeypatch
):
    admin_client.post(ADD, asked(f"shelf:{shelf}"))
    remove_shelf(monkeypatch)
    job = CrawlJob.objects.get()
    url = reverse("admin:crawler_crawljob_change", args=[job.pk])
    assert "shelf (not installed)" in admin_client.get(url).content.decode()

    with working(), pytest.raises(SystemExit) as ending:
        call_command("crawl", "--source", "folder", "--from", shelf, "--max-images=1", "--wait")

    assert ending.value.code == 0
    source = job.sources.get()
    assert source.status == "failed"
    assert "no source 'shelf' is installed; there are: folder, page, sitemap, urls" in (
        source.error_message
    )
    assert "Traceback" not in source.error_message
    assert admin_client.get(url).status_code == 200


def test_every_source_says_what_people_must_know():
    for source in all_sources().values():
        assert source.title
        assert source.place
        assert all(option.help for option in source.known_options)
        assert source.__module__ == f"crawler.sources.{source.kind}.source"


def test_a_folder_without_a_source_is_refused_by_name(shelf, tmp_path):
    (tmp_path / "plugins" / "empty").mkdir()
    (tmp_path / "plugins" / "empty" / "__init__.py").touch()
    (tmp_path / "plugins" / "empty" / "source.py").write_text("")
    importlib.invalidate_caches()
    with pytest.raises(
        ImportError, match=r"crawler\.sources\.empty\.source must define one Source"
    ):
        all_sources()


def test_the_installed_sources_are_found_by_their_folders(shelf):
    assert list(all_sources()) == ["folder", "page", "shelf", "sitemap", "urls"]
    assert guess_kind("shelf:/a") == "shelf"
    assert build("shelf", f"shelf:{shelf}", {"at_most": 1}, "").read(None).cursor == None  # noqa: E711
