"""`manage.py crawl`: what it accepts, refuses, prints and returns."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Profile
from accounts.services import change_tier
from crawler.management import reports
from crawler.models import CrawlJob, CrawlSource, Image, JobChunk, Project
from pixsim.core.cli.progress import Display
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import encode, jpeg, photograph, truncated

pytestmark = pytest.mark.django_db
# For tests in which another thread or process works on what this one commits.
committing = pytest.mark.django_db(transaction=True)

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def blob_folder(settings, tmp_path) -> Path:
    folder = tmp_path / "blobs"
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(folder)},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Six pictures, one of them twice, and one that is cut off."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(jpeg(160, 120, seed=number))
    (folder / "again.jpg").write_bytes(jpeg(160, 120, seed=0))
    (folder / "cut.jpg").write_bytes(truncated(encode(photograph(160, 120, seed=9), quality=95)))
    return folder


@pytest.fixture
def ada(django_user_model) -> Profile:
    return Profile.objects.get(user=django_user_model.objects.create_user("ada", "ada@example.org"))


@pytest.fixture
def eve(django_user_model) -> Profile:
    profile = django_user_model.objects.create_user("eve", "eve@example.org").profile
    change_tier(profile=profile, tier="ENTERPRISE", actor=None)
    return profile


def crawl(*words: object) -> tuple[int, str, str]:
    """Exit code, output and errors, as the shell would see them."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("crawl", *map(str, words), stdout=out, stderr=err)
        code = 0
    except CommandError as error:
        code = error.returncode
        err.write(str(error))
    except SystemExit as ending:
        code = ending.code
    return code, out.getvalue(), err.getvalue()


def crawl_folder(folder: Path, images: int, *words: object) -> tuple[int, str, str]:
    return crawl("--source", "folder", "--from", folder, "--max-images", images, *words)


def test_a_job_is_accepted_as_it_was_asked_for(ada, tmp_path, monkeypatch):
    Profile.objects.update(user_tier="PRO")
    (tmp_path / "list.csv").write_text("link,class\nhttps://example.org/a.jpg,cats\n")
    monkeypatch.chdir(tmp_path)
    code, out, err = crawl(
        *("--source", "urls", "--from", "list.csv", "--max-images", 25, "--label", "cats"),
        *("--priority", 7, "--owner", "ada@example.org", "--project", "Zoo", "--chunk-size", 10),
        *("--url-column", "link", "--label-column", "class", "--option", "min_side=64"),
        *("--option", "formats=JPG, .png,", "--option", "delimiter=,"),
        *("--format", ".CSV", "--option", "near_duplicate_distance=none"),
    )
    assert (code, err) == (0, "")
    job = CrawlJob.objects.get()
    assert f"Crawl job {job.pk} is accepted: up to 25 images in 3 chunks." in out
    assert (job.priority, job.name, job.keywords) == (7, "cats", ["cats"])
    assert job.options == {
        "min_side": 64,
        "formats": ["jpeg", "png"],
        "near_duplicate_distance": 0,
    }
    assert (job.project.name, job.project.owner) == ("Zoo", ada)
    source = CrawlSource.objects.get()
    assert (source.location, source.label) == (str(tmp_path / "list.csv"), "cats")
    assert source.options == {
        "url_column": "link",
        "label_column": "class",
        "delimiter": ",",
        "format": "csv",
    }
    assert set(JobChunk.objects.values_list("priority", "owner")) == {(7, ada.pk)}
    crawl_folder(tmp_path, 1, "--owner", "ada@example.org", "--project", "Zoo")
    assert Project.objects.count() == 1


@committing
def test_a_complete_crawl_ends_with_0_and_one_object(pictures, tmp_path):
    with working():
        code, out, err = crawl_folder(
            pictures,
            5,
            "--label",
            "cats",
            "--chunk-size",
            2,
            "--json",
            "--export",
            tmp_path / "out",
        )
    assert code == 0, err
    told = json.loads(out)
    job = CrawlJob.objects.get()
    seconds = told.pop("seconds")
    assert 0 < seconds < 60
    assert told == {
        "job": job.pk,
        "status": "completed",
        "requested": 5,
        "stored": 5,
        "outcomes": job.outcomes,
        "export": str(tmp_path / "out" / f"cats-{job.pk}.zip"),
    }
    assert told["outcomes"]["stored"] == 5
    archive = zipfile.ZipFile(told["export"])
    assert len(archive.read("metadata.jsonl").splitlines()) == 5
    assert "5 of 5 images" in err


@committing
def test_a_crawl_that_finds_too_little_ends_with_3_and_says_what_it_found(pictures, tmp_path):
    with working():
        code, out, _ = crawl_folder(pictures, 20, "--wait")
    assert code == 3
    assert "is completed short: 6 of 20 images" in out
    assert [line.split() for line in out.splitlines()[1:4]] == [
        ["6", "stored"],
        ["1", "duplicate"],
        ["1", "truncated"],
    ]
    assert Image.objects.count() == 6


@committing
def test_folders_and_files_of_any_bytes_are_crawled_exported_and_shown(tmp_path, admin_client):
    top = os.fsencode(tmp_path) + b"/caf\xe9 \n%41#?"
    names = [b"\xe9", b"line\nbreak", b"-x", "é".encode()]
    for number, name in enumerate(names):
        os.makedirs(os.path.join(top, name))
        with open(os.path.join(top, name, name + b".jpg"), "wb") as file:
            file.write(jpeg(160, 120, seed=number))
    printed = io.BytesIO()
    with working(), io.TextIOWrapper(printed, "utf-8", errors="strict") as out:
        with pytest.raises(SystemExit) as ending:
            call_command(
                *("crawl", "--source", "folder", "--from", os.fsdecode(top), "--max-images", "4"),
                *("--labels", "folder", "--export", os.fsdecode(top + b"/out\xe9")),
                stdout=out,
            )
        out.flush()
        told = printed.getvalue().decode()
    assert ending.value.code == 0
    assert r"/out\xe9/folder-caf" in told
    job = CrawlJob.objects.get()
    assert (job.name, job.valid_images) == (r"folder caf\xe9 \n%41#?", 4)
    labels = {r"\xe9", r"line\nbreak", "-x", "é"}
    assert {*Image.objects.values_list("label", flat=True)} == labels
    [archive] = Path(os.fsdecode(top + b"/out\xe9")).iterdir()
    with zipfile.ZipFile(archive) as opened:
        rows = [json.loads(line) for line in opened.read("metadata.jsonl").splitlines()]
        assert opened.testzip() is None
    assert {row["label"] for row in rows} == labels
    assert {row["url"] for row in rows} == {f"{label}/{label}.jpg" for label in labels}
    image = Image.objects.first()
    for place in ("", f"/{image.pk}/change", f"/{image.pk}/picture/small"):
        assert admin_client.get(f"/admin/crawler/image{place}/").status_code == 200
    for place in ("candidate", f"crawljob/{job.pk}/change"):
        assert admin_client.get(f"/admin/crawler/{place}/").status_code == 200
    status = io.StringIO()
    call_command("crawl_job", str(job.pk), stdout=status)
    assert "caf%E9%20%0A%2541%23%3F: completed" in status.getvalue()


NO_TEXT = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    ("words", "field", "why"),
    [
        (["--url-column", NO_TEXT], "url-column", "no UTF-8"),
        (["--label-column", "a\0b"], "label-column", "NUL"),
        (["--option", f"licences={NO_TEXT}"], "option licences", "no UTF-8"),
        (["--owner", NO_TEXT], "owner", "nobody has the e-mail"),
        (["--source", "page", "--from", f"http://93.184.216.34.{NO_TEXT}/"], "from", ""),
        (["--source", "sitemap", "--from", NO_TEXT], "from", ""),
        (["--from", f"/tmp/{NO_TEXT}.csv"], "from", r"no file /tmp/caf\xe9.csv"),
        (["--source", "folder", "--from", "file:///tmp/%00"], "from", "U+0000"),
        (["--source", "folder", "--from", "/tmp/" + "x" * 5000], "from", "name too long"),
    ],
)
def test_what_no_column_holds_is_refused_by_its_flag(words, field, why):
    place = ["--source", "urls", "--from", "http://93.184.216.34/x.csv", "--max-images", 1]
    code, _, err = crawl(*place, *words)
    assert (code, CrawlJob.objects.count()) == (2, 0)
    assert err.encode().decode().startswith(f"{field}: ".removesuffix(": " if " " in field else ""))
    assert why in err


@pytest.mark.parametrize("flag", ["label", "name", "project"])
def test_names_of_bytes_that_are_no_text_are_refused_by_their_flag(pictures, flag):
    code, _, err = crawl_folder(pictures, 1, f"--{flag}", os.fsdecode(b"caf\xe9"))
    assert (code, CrawlJob.objects.count()) == (2, 0)
    assert flag in err
    assert "no UTF-8" in err


@committing
def test_a_source_that_cannot_be_read_fails_the_job_with_its_reason(tmp_path, settings):
    settings.QUEUE_BACKOFF_SECONDS = 0.05
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        port = nobody_listens.getsockname()[1]
        settings.CRAWL_ALLOWED_PORTS = [port]
        with working():
            code, out, err = crawl(
                *("--source", "sitemap", "--from", f"http://127.0.0.1:{port}/", "--max-images", 3),
                *("--wait", "--export", tmp_path / "out"),
            )
    assert code == 3
    job = CrawlJob.objects.get()
    assert job.status == "failed"
    assert job.error_message in out
    assert f"127.0.0.1:{port}" in job.error_message
    assert f"crawl_job {job.pk} retry" in out
    assert "no images to export" in err
    assert list((tmp_path / "out").iterdir()) == []


@committing
def test_broken_entries_of_a_list_are_counted_and_the_rest_is_crawled(pictures, tmp_path):
    lines = [
        "url",
        f"file://{pictures}/0.jpg",
        "no address",
        "ftp://example.org/x.jpg",
        "",
        "http://",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with working():
        code, out, _ = crawl(
            *("--source", "urls", "--from", tmp_path / "list.csv", "--max-images", 1, "--wait")
        )
    assert code == 0, out
    source = CrawlSource.objects.get()
    assert (source.found, source.rejected) == (1, 3)


@committing
@pytest.mark.parametrize(("within", "stored"), [("none", 3), ("1", 2)])
def test_a_crawl_says_how_near_a_near_duplicate_is(tmp_path, within, stored):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, quality in enumerate((90, 89)):  # nearly the same
        (folder / f"{number}.jpg").write_bytes(jpeg(160, 120, seed=1, quality=quality))
    (folder / "other.jpg").write_bytes(jpeg(160, 120, seed=2))
    with working():
        crawl_folder(folder, 3, "--wait", "--option", f"near_duplicate_distance={within}")
    assert CrawlJob.objects.get().outcomes["stored"] == stored


REFUSALS = {
    "max-images 0": (["--max-images", "0"], "max-images: must be from 1"),
    "max-images below 0": (["--max-images", "-5"], "max-images: must be from 1"),
    "priority 11": (["--priority", "11"], "priority: must be from 0 to 10, not 11"),
    "chunk-size": (["--chunk-size", "0"], "chunk-size: must be from 1 to"),
    "an unknown owner": (["--owner", "no@example.org"], "owner: nobody has the e-mail"),
    "above the tier": (
        ["--owner", "ada@example.org", "--max-images", "101"],
        "max-images: images_per_job: tier FREE allows 100",
    ),
    "too urgent for the tier": (
        ["--owner", "ada@example.org", "--priority", "9"],
        "priority: highest_priority: tier FREE allows 5",
    ),
    "without the feature to export": (
        ["--owner", "eve@example.org", "--export", "/tmp"],
        "export: tier ENTERPRISE does not have this feature. Ask for a tier that has it: FREE.",
    ),
    "a missing column": (["--url-column", "nope"], "url-column: "),
    "an unknown encoding": (["--encoding", "klingon"], "encoding: "),
    "an option of another source": (["--follow-links"], "follow-links: "),
    "an unknown option": (["--option", "colour=red"], "option colour: unknown"),
    "a wrong option": (["--option", "min_side=small"], "option min_side: must be a whole number"),
    "an unknown picture format": (
        ["--option", "formats=jpg,eps"],
        "option formats: 'eps' is unknown; there are jpeg, png, webp, gif, bmp, tiff, avif",
    ),
    "an unknown list format": (
        ["--format", "xlsx"],
        "format: must be one of txt, csv, tsv, jsonl, parquet",
    ),
    "too far for a near duplicate": (
        ["--option", "near_duplicate_distance=64"],
        "option near_duplicate_distance: must be a whole number from 1 to 11",
    ),
    "a loosened limit": (
        ["--option", "max_bytes=999999999999"],
        "option max_bytes: may be at most",
    ),
    "no option": (["--option", "min_side"], "option: must be NAME=VALUE"),
    "no such list": (["--from", "/nowhere/list.csv"], "from: "),
    "an empty place": (["--from", " "], "from: is empty"),
    "an unwritable export": (["--export", "/proc/nowhere"], "export: /proc/nowhere cannot be made"),
    "a kind": (["--source", "google"], "argument --source: invalid choice"),
    "a number": (["--max-images", "many"], "argument --max-images: invalid int value"),
}


@pytest.mark.parametrize(("words", "message"), REFUSALS.values(), ids=REFUSALS)
def test_wrong_usage_names_the_flag_and_creates_nothing(
    ada, eve, settings, tmp_path, words: list[str], message: str
):
    settings.TIERS = {name: {"features": ["crawl"]} for name in ("PRO", "ENTERPRISE")}
    (tmp_path / "list.csv").write_text("url\nhttps://example.org/a.jpg\n")
    usual = ("--source", "urls", "--from", tmp_path / "list.csv", "--max-images", 10)
    code, out, err = crawl(*usual, *words)
    assert message in err
    # What argparse refuses ends with 2 only in a real process; called from Python it is an error.
    assert (code, out) == (1 if message.startswith("argument") else 2, "")
    assert not CrawlJob.objects.exists()
    assert not Project.objects.exists()


def test_a_list_in_another_encoding_is_refused_by_name(tmp_path):
    rows = "url,label\n" + "https://example.org/a.jpg,Möwe\n" * 3
    (tmp_path / "list.csv").write_bytes(rows.encode("latin-1"))
    usual = ("--source", "urls", "--from", tmp_path / "list.csv", "--max-images", 10)
    code, _, err = crawl(*usual)
    assert code == 2
    assert "encoding: row 2 is not valid utf-8" in err
    assert crawl(*usual, "--encoding", "latin-1")[0] == 0


def test_waiting_without_a_worker_says_once_how_to_start_one(pictures, monkeypatch):
    monkeypatch.setattr(reports, "IDLE_SECONDS", 0.3)
    code, out, err = crawl_folder(pictures, 5, "--timeout", 2)
    assert code == 3
    assert err.count("start one with: celery -A pixsim worker") == 1
    job = CrawlJob.objects.get()
    assert f"Crawl job {job.pk} is pending: 0 of 5 images" in out
    assert f"It goes on. See it with: manage.py crawl_job {job.pk} status" in out


@committing
def test_waiting_outlasts_a_database_that_goes_away(pictures):
    class Recorder(Display):
        said: list[str] = []
        shown = 0

        def show(self, state: str, done: float = 0, total: float | None = None) -> None:
            self.shown += 1
            if self.shown == 1:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            else:
                CrawlJob.objects.update(status="completed")

        def say(self, message: str) -> None:
            self.said.append(message)

    crawl_folder(pictures, 5)
    display = Recorder()
    job = reports.wait_for_job(CrawlJob.objects.get().pk, display=display)
    assert job.status == "completed"
    assert len(display.said) == 1
    assert "database does not answer; trying on" in display.said[0]


# As a real process


def environment(tmp_path: Path, **values: str) -> dict[str, str]:
    """For a real `manage.py` on this test's database."""
    database = connection.settings_dict
    user = database["USER"] + (f":{database['PASSWORD']}" if database["PASSWORD"] else "")
    if os.path.isabs(database["HOST"]):
        url = f"postgres://{user}@/{database['NAME']}?host={database['HOST']}"
    else:
        url = f"postgres://{user}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    return {
        "PATH": os.environ["PATH"],
        "PIXSIM_ENV_FILE": str(tmp_path / "none"),
        "PIXSIM_HOME": str(tmp_path),
        "PIXSIM_BLOBS": str(tmp_path / "blobs"),
        "DATABASE_URL": url,
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        **values,
    }


def start(tmp_path: Path, *words: object, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *map(str, words)],
        cwd=PROJECT,
        env=environment(tmp_path),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@committing
def test_with_the_broker_down_a_job_is_accepted_and_runs(pictures, tmp_path):
    words = ("crawl", "--source", "folder", "--from", pictures, "--max-images", 3, "--json")
    process = start(tmp_path, *words)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert (told["status"], told["stored"], told["export"]) == ("pending", 0, None)
    with working():
        wait_until(lambda: CrawlJob.objects.get().status == "completed")
    assert CrawlJob.objects.get().valid_images == 3


@committing
def test_ctrl_c_ends_with_130_and_says_what_is_kept(pictures, tmp_path):
    words = (
        "crawl",
        "--source",
        "folder",
        "--from",
        pictures,
        "--max-images",
        3,
        "--wait",
        "--json",
    )
    # As in a terminal: what a shell starts in the background ignores Ctrl-C, and hands that on.
    process = start(
        tmp_path, *words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    wait_until(lambda: CrawlJob.objects.exists())
    assert process.stderr is not None
    assert any("0 of 3 images" in line for line in process.stderr)  # it waits now
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    job = CrawlJob.objects.get()
    assert f"0 of 3 images of crawl job {job.pk} are kept. The job goes on in the workers." in err
    assert "Traceback" not in err
    assert json.loads(out)["status"] == "pending"


@committing
def test_on_a_terminal_a_bar_shows_how_it_goes(pictures, tmp_path):
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    ours, theirs = pty.openpty()
    words = ("crawl", "--source", "folder", "--from", pictures, "--max-images", 6, "--wait")
    process = start(tmp_path, *words, stderr=theirs)
    os.close(theirs)
    seen = b""
    with working():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    assert process.returncode == 0
    assert "━" in seen.decode(errors="replace")
    assert "of 6 images" in seen.decode(errors="replace")
    assert "is completed: 6 of 6 images" in out


def test_without_a_database_nothing_is_accepted_and_that_is_said(tmp_path):
    process = subprocess.run(
        [
            sys.executable,
            "manage.py",
            "crawl",
            "--source",
            "folder",
            "--from",
            "/",
            "--max-images=1",
        ],
        cwd=PROJECT,
        env=environment(tmp_path, DATABASE_URL="postgres://nobody@127.0.0.1:1/none"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 1
    assert "No job was created. The database does not answer" in process.stderr
    assert "Traceback" not in process.stderr
