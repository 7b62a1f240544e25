"""A label or name that its column does not hold is refused, wherever it comes in, and never cut."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crawler.admin.forms import CrawlJobForm, SourceForm
from crawler.errors import JobRefused, SourceRefused
from crawler.labels import MAX_LABEL
from crawler.models import CrawlJob, CrawlSource, Image, Project
from crawler.services import accepting, lifecycle, projects
from crawler.sources import build
from tests.crawler.in_process import working
from tests.crawler.pictures import jpeg
from tests.crawler.reading import read_all

pytestmark = pytest.mark.django_db

LONGEST, LONG = "l" * MAX_LABEL, "l" * 300
SAID = "a label may have at most 100 characters, not 300"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path) -> Path:
    location = {"location": str(tmp_path / "blobs")}
    backend = {"BACKEND": "pixsim.core.blobs.local.BlobStorage", "OPTIONS": location}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def accepted(folder: Path, **values: Any) -> CrawlJob:
    spec = accepting.SourceSpec("folder", str(folder), values.pop("label", ""))
    values = {"name": "n", "max_images": 3, "source_specs": [spec], **values}
    return accepting.create_crawl_job(owner=None, **values)


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"label": LONG}, "label", SAID),
        ({"keywords": ["cats", LONG]}, "keywords", f"{SAID}: {LONG[:40]}…"),
        ({"name": LONG}, "name", "may have at most 100 characters, not 300"),
    ],
)
def test_a_job_is_refused_by_the_name_of_the_field(folder, values, field, said):
    with pytest.raises((JobRefused, SourceRefused)) as refused:
        accepted(folder, **values)
    assert (refused.value.field, said in refused.value.message) == (field, True)
    assert not CrawlJob.objects.exists()
    assert not Project.objects.exists()


def test_what_a_column_just_holds_is_kept_whole(folder):
    job = accepted(folder, name=LONGEST, keywords=[LONGEST])
    assert (job.name, job.keywords) == (LONGEST, [LONGEST])
    assert CrawlSource.objects.get().label == LONGEST


def test_a_job_and_a_project_cannot_be_changed_to_it(folder):
    job = accepted(folder)
    for changes, field in (({"name": LONG}, "name"), ({"keywords": [LONG]}, "keywords")):
        with pytest.raises(JobRefused) as refused:
            lifecycle.change_job(job_id=job.pk, changes=changes)
        assert refused.value.field == field
    spec = accepting.SourceSpec("folder", str(folder), LONG)
    with pytest.raises(SourceRefused, match=f"label: {SAID}"):
        accepting.add_sources(job_id=job.pk, source_specs=[spec])
    with pytest.raises(JobRefused, match="project: may have at most 100"):
        projects.project_named(owner=None, name=LONG)
    with pytest.raises(JobRefused, match="name: may have at most 100"):
        projects.change_project(project_id=job.project_id, changes={"name": LONG}, shown={})
    assert CrawlSource.objects.count() == 1


@pytest.mark.parametrize("flag", ["label", "name", "project"])
def test_the_command_names_the_flag(folder, flag):
    words = ["--source", "folder", "--from", str(folder), "--max-images", "1"]
    with pytest.raises(CommandError) as refused:
        call_command("crawl", *words, f"--{flag}", LONG)
    assert str(refused.value).startswith(f"{flag}: ")
    assert "may have at most 100 characters, not 300" in str(refused.value)
    assert refused.value.returncode == 2


def test_a_name_that_the_command_makes_up_is_cut(folder):
    deep = folder / ("d" * 200)
    deep.mkdir()
    words = ["--source", "folder", "--from", str(deep), "--max-images", "1"]
    call_command("crawl", *words, stdout=io.StringIO())
    assert CrawlJob.objects.get().name == f"folder {deep.name}"[:100]


def test_the_admins_forms_say_the_same():
    source = SourceForm({"location": "/p", "label": LONG, "options": "{}"})
    assert SAID in source.errors["label"][0].lower()
    job = CrawlJobForm({"name": LONG, "keywords": f"cats, {LONG}", "max_images": 1})
    assert f"{LONG[:40]}…: {SAID}" in job.errors["keywords"][0]
    assert "100" in job.errors["name"][0]


def test_a_row_with_a_label_that_is_too_long_costs_that_row_alone(tmp_path):
    rows = ["url,class", f"https://e.org/1.jpg,{LONGEST}", f"https://e.org/2.jpg,{LONG}"]
    rows += ["https://e.org/3.jpg,dogs"]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(rows))
    found, rejected = read_all(build("urls", str(path), {"label_column": "class"}, ""))
    assert [one.label for one in found] == [LONGEST, "dogs"]
    [(entry, why)] = rejected
    assert ("row 3" in entry, why) == (True, SAID)


@pytest.mark.django_db(transaction=True)
def test_a_sub_folder_with_a_name_that_is_too_long_costs_its_own_pictures_alone(folder):
    for name in (LONGEST, "l" * 200, "short"):
        (folder / name).mkdir()
        (folder / name / "1.jpg").write_bytes(jpeg(160, 120, seed=len(name)))
    words = ["--source", "folder", "--from", str(folder), "--max-images", "3", "--wait"]
    out = io.StringIO()
    with working(), pytest.raises(SystemExit):
        call_command("crawl", *words, "--labels", "folder", stdout=out, stderr=io.StringIO())
    assert set(Image.objects.values_list("label", flat=True)) == {LONGEST, "short"}
    source = CrawlSource.objects.get()
    assert (source.found, source.rejected) == (2, 1)
    assert "a label may have at most 100 characters, not 200" in str(source.rejection)


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["queue", "pause", "--host", LONG], "host"),
        (["queue", "pause", "--host", "example.org", "--reason", LONG], "reason"),
        (["credits", "grant", "ada@example.org", "5", "--reference", LONG], "reference"),
        (["providers", "accounts", "add", "local", LONG], "email"),
        (["providers", "accounts", "add", "local", "ada", "--nickname", LONG], "nickname"),
    ],
)
def test_other_texts_of_the_command_line_are_refused_in_the_same_words(
    words, flag, django_user_model
):
    django_user_model.objects.create_user("ada", "ada@example.org")
    with pytest.raises(CommandError, match=rf"{flag}: may have at most \d+ characters, not \d+"):
        call_command(*words)
