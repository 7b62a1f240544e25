"""`manage.py generate` and `manage.py job`: what they accept, refuse, print and return."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts import credits
from accounts.models import Profile
from jobs import services
from jobs.management import progress
from jobs.models import Asset, Job
from providers.models import ProviderAccount, ProviderSubmission
from tests.crawler.in_process import wait_until, working
from tests.jobs.generation.conftest import ask, database_url, finish, hurry, work
from tests.providers.adapters.fake import Ending, picture, refuses
from tests.providers.adapters.simple_adapter import SimpleAdapter
from tests.providers.adapters.simple_fake import error

pytestmark = pytest.mark.django_db(transaction=True)

PROJECT = Path(__file__).resolve().parents[3]
PICTURE = ("--provider", "simple", "--operation", "text_to_image")


def run(command: str, *words: object) -> tuple[int, str, str]:
    """Exit code, output and errors, as the shell would see them."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(command, *map(str, words), stdout=out, stderr=err)
        code = 0
    except CommandError as refusal:
        code = refusal.returncode
        err.write(str(refusal))
    except SystemExit as ending:
        code = ending.code
    return code, out.getvalue(), err.getvalue()


def panda(*words: object) -> tuple[int, str, str]:
    return run("generate", *PICTURE, "--param", "prompt=a red panda", *words)


class TestGenerate:
    def test_without_wait_a_job_is_accepted_and_the_next_step_named(self, fake, ada) -> None:
        code, out, err = panda("--owner", ada.email, "--priority", 7, "--name", "panda")

        job = Job.objects.get()
        assert (code, err) == (0, "")
        assert (
            out
            == f"Job {job.pk} is accepted. See how it goes with: manage.py job {job.pk} status\n"
        )
        assert (job.owner, job.priority, job.name) == (ada, 7, "panda")
        assert job.params == {"prompt": "a red panda"}

    def test_with_wait_it_stays_and_says_what_was_made(self, fake, account) -> None:
        fake.duration = 0.5
        with working():
            code, out, err = panda("--wait")

        job = Job.objects.get()
        assert code == 0
        assert out.startswith(f"Job {job.pk} is completed: image/png, 64x64, /")
        assert Path(out.split(", ")[-1].strip()).is_file()
        states = [line for line in err.splitlines() if line]
        assert states[0] in (f"Job {job.pk} is pending", f"Job {job.pk} is processing")
        assert f"Job {job.pk} is accepted by simple" in states
        assert states[-1] == f"Job {job.pk} is completed"

    def test_json_is_one_object_with_the_asset_and_each_attempt(self, fake, account, ada) -> None:
        with working():
            code, out, _ = panda("--wait", "--json", "--owner", ada.email)

        told = json.loads(out)
        assert (code, out.count("\n")) == (0, 1)
        assert (told["status"], told["error"], told["params"]) == (
            "completed", None, {"prompt": "a red panda"},
        )  # fmt: skip
        assert told["credits"] == {"held": 2, "taken": 2}
        assert (told["asset"]["type"], told["asset"]["width"]) == ("image/png", 64)
        assert Path(told["asset"]["file"]).stat().st_size == told["asset"]["bytes"]
        (attempt,) = told["attempts"]
        assert (attempt["status"], attempt["error"]) == ("succeeded", None)

    def test_one_that_fails_ends_with_3_and_says_why(self, fake, account) -> None:
        fake.endings.append(Ending("failed", "filtered", "Not that."))
        with working():
            code, out, _ = panda("--wait")

        job = Job.objects.get()
        assert code == 3
        assert out == (
            f"Job {job.pk} is failed: Not that. Try again with: manage.py job {job.pk} retry\n"
        )

    def test_one_that_has_no_account_says_so_and_goes_on_after_the_timeout(
        self, fake, monkeypatch
    ) -> None:
        monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.1)
        code, out, err = panda("--timeout", 0.5)

        assert code == 3
        assert "There is no account with simple." in err
        assert "is pending: There is no account with simple." in out
        assert Job.objects.get().status == "pending"

    def test_a_time_in_the_future_a_parent_and_a_key_are_taken(self, fake) -> None:
        panda("--at", "2130-01-01T12:00", "--key", "k")
        parent = Job.objects.get()
        code, out, _ = panda("--at", "2130-01-01T12:00", "--key", "k")
        assert code == 0
        assert out.startswith(f"Job {parent.pk} is accepted")
        assert (parent.held, parent.scheduled_at.isoformat()) == (True, "2130-01-01T12:00:00+00:00")

        panda("--parent", parent.pk)
        child = Job.objects.exclude(pk=parent.pk).get()
        assert (child.parent_job, child.held) == (parent, True)
        assert f"It waits for its parent job {parent.pk}." in run("job", child.pk, "status")[1]
        assert "It is tried at 2130-01-01 12:00:00 UTC." in run("job", parent.pk, "status")[1]

    def test_who_may_not_schedule_is_told_so_and_a_past_time_needs_no_feature(
        self, fake, ada
    ) -> None:
        Profile.objects.update(user_tier="FREE")
        code, _, err = panda("--owner", ada.email, "--at", "2130-01-01T12:00")
        assert (code, Job.objects.count()) == (2, 0)
        assert err == (
            "at: schedule: tier FREE does not have this feature. "
            "Ask for a tier that has it: PRO, ENTERPRISE."
        )
        assert panda("--owner", ada.email, "--at", "2000-01-01T12:00")[0] == 0
        Profile.objects.update(user_tier="PRO")
        assert panda("--owner", ada.email, "--at", "2130-01-01T12:00")[0] == 0

    def test_a_retry_at_a_later_time_needs_the_feature_still(self, fake, ada) -> None:
        panda("--owner", ada.email, "--at", "2130-01-01T12:00")
        job = Job.objects.get()
        services.cancel_job(job=job)
        Profile.objects.update(user_tier="FREE")
        code, _, err = run("job", job.pk, "retry")
        assert (code, "schedule: tier FREE does not have" in err) == (1, True)
        assert Job.objects.get().status == "cancelled"

    def test_a_tier_that_does_not_generate_is_told_so(self, fake, ada, settings) -> None:
        settings.TIERS = {"PRO": {"features": ["schedule"]}}
        code, _, err = panda("--owner", ada.email)
        assert (code, "owner: generate: tier PRO does not have" in err) == (2, True)

    def test_a_value_that_is_json_is_read_as_such(self, fake) -> None:
        code, *_ = run("generate", *PICTURE, "--param", 'prompt="1984"')
        assert (code, Job.objects.get().params) == (0, {"prompt": "1984"})


DEEP = "[" * 40 + "]" * 40
LONG = "x" * 101
REFUSALS = {
    "a provider": (["--provider", "nobody"], ["provider: There is no provider 'nobody'; there is: "]),
    "an operation": (["--operation", "fly"], ["operation: simple has no 'fly'; it has: "]),
    "a model": (["--model", "new"], ["model: there is no 'new'; there is: plain."]),
    "no prompt": ([], ["param prompt: Field required"]),
    "an empty one": (["--param", "prompt= "], ["param prompt: String should have at least 1"]),
    "two fields": (
        ["--param", "prompt=5", "--param", "colour=red"],
        ["param prompt: Input should be a valid string", "param colour: Extra inputs"],
    ),
    "a NUL": (
        ["--param", r'prompt="a\u0000b"'], ["param prompt: It has a NUL character (U+0000) in it."],
    ),
    "half a character": (
        ["--param", r'prompt="\ud83d"'], ["param prompt: Half of a character (U+D83D) stands alone"],
    ),
    "not a number": (["--param", "prompt=NaN"], ["param prompt: nan is no number that JSON has."]),
    "infinity, inside": (
        ["--param", 'prompt={"a": [1e999]}'],
        ["param prompt.a.0: inf is no number", "param prompt: Input should be a valid string"],
    ),
    "depth": (["--param", f"prompt={DEEP}"], ["param prompt: Values stand in each other more than"]),
    "bottomless": (
        ["--param", "prompt=" + "[" * 20_000], ["param prompt: its values are nested too"],
    ),
    "no value": (["--param", "prompt"], ["param: must be NAME=VALUE, not 'prompt'"]),
    "no name": (["--param", "=x"], ["param: must be NAME=VALUE, not '=x'"]),
    "twice": (["--param", "prompt=a", "--param", "prompt=b"], ["param prompt: it is given twice"]),
    "an owner": (["--owner", "nobody@example.org"], ["owner: nobody has the e-mail"]),
    "a parent": (["--parent", 10**12], [f"parent: there is no job {10**12}."]),
    "a time": (["--at", "soon"], ["at: must be a time like"]),
    "a day that there is not": (["--at", "2030-02-30T12:00"], ["at: must be a time like"]),
    "a time beyond the calendar": (
        ["--param", "prompt=x", "--at", "9999-12-31T23:59-14:00"],
        ["at: 9999-12-31 23:59:00-14:00 lies outside the years 1 to 9999."],
    ),
    "a priority": (["--param", "prompt=x", "--priority", 11], ["priority: must be from 0 to 10"]),
    "texts": (
        ["--param", "prompt=x", "--key", LONG, "--name", 3 * LONG],
        ["key: may have at most 100 characters, not 101.", "name: may have at most 255 characters, not 303."],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "messages"), REFUSALS.values(), ids=REFUSALS)
def test_wrong_usage_names_each_field_and_keeps_nothing(fake, words, messages) -> None:
    code, out, err = run("generate", *PICTURE, *words)
    for message in messages:
        assert message in err
    assert err.count("\n") == len(messages) - 1
    assert "Value error" not in err
    assert (code, out) == (2, "")
    assert not Job.objects.exists()
    assert not ProviderAccount.objects.exists()


def test_what_a_tier_or_a_balance_does_not_allow_names_the_flag(fake, ada) -> None:
    code, _, err = panda("--owner", ada.email, "--priority", 9)
    assert (code, err.partition(":")[0]) == (2, "priority")
    credits.hold(profile=ada, amount=1000, description="other work", reference="x")
    code, _, err = panda("--owner", ada.email)
    assert code == 2
    assert "owner: credits: 2 are needed and 0 are there." in err
    assert not Job.objects.exists()


class TestJob:
    def test_a_number_that_there_is_not_and_wrong_usage_end_with_2(self, fake) -> None:
        for number in (7, 10**15):
            assert run("job", number, "status") == (2, "", f"id: there is no job {number}.")
        job = ask()
        assert run("job", job.pk, "resolve")[0] == 2
        assert run("job", job.pk, "cancel", "--charge")[0] == 2
        job.refresh_from_db()
        assert job.status == "pending"

    def test_cancel_and_retry_and_what_does_not_fit_ends_with_1(self, fake, account) -> None:
        job = ask()
        code, _, err = run("job", job.pk, "retry")
        assert (code, err) == (1, f"Job {job.pk} is pending. Nothing was changed.")
        assert run("job", job.pk, "cancel") == (0, f"Job {job.pk} is cancelled\n", "")
        code, _, err = run("job", job.pk, "cancel")
        assert (code, err) == (1, f"Job {job.pk} is cancelled already. Nothing was changed.")
        code, out, _ = run("job", job.pk, "retry", "--json")
        assert (code, json.loads(out)["status"]) == (0, "pending")
        assert finish(job).status == "completed"

    def test_status_says_which_account_rests_and_until_when(self, fake, make_account) -> None:
        for name in "12345":
            make_account(name)
        fake.exhausted |= {f"test-key-{name}" for name in "12345"}
        job = ask()
        work(lambda: not ProviderAccount.objects.filter(status="active").exists())
        hurry()
        work(lambda: not Job.objects.get(pk=job.pk).held)
        ProviderAccount.objects.filter(email__contains="-2").update(status="disabled")
        ProviderAccount.objects.filter(email__contains="-3").update(status="error", last_error="x")

        _, out, _ = run("job", job.pk, "status")

        assert f"Job {job.pk} is pending: No account takes it now: account-1" in out
        assert "is exhausted until 20" in out
        assert "(simple) is disabled; " in out
        assert "waits to be mended (x); 2 more take nothing either." in out

    def test_status_says_that_all_slots_are_in_use(self, fake, make_account) -> None:
        make_account(slots=1)
        fake.duration = None
        first, second = ask(), ask(prompt="another")
        work(lambda: bool(fake.live))
        _, out, _ = run("job", second.pk, "status")
        assert "has 1 of 1 slots in use" in out
        services.cancel_job(job=first)
        services.cancel_job(job=second)

    def test_explain_prints_the_whole_timeline_in_order(self, fake, make_account, ada) -> None:
        make_account("1", priority=9)
        make_account("2")
        fake.script("submit", refuses(401, error("auth")))
        job = ask(ada)
        services.cancel_job(job=job, actor=ada)
        services.retry_job(job=job)
        job = finish(job)

        code, out, _ = run("job", job.pk, "explain")

        lines = out.splitlines()
        assert [line[:19] for line in lines[:-1]] == sorted(line[:19] for line in lines[:-1])
        events = [line[21:] for line in lines[:-1]]
        beginnings = [
            "Text to image asked for by ada: simple, plain, priority 5, started anew by hand once",
            "Cancelled by ada@example.org",
            "Retried by an operator",
            "Attempt 1 through account-1@example.org (simple): Chosen for: shared, ",
            "Failed after ",
            "Attempt 2 through account-2@example.org (simple): Chosen for: ",
            "Accepted after ",
            "Succeeded after ",
            "Completed: image/png, 64 × 64, ",
        ]
        others = [event for event in events if "credits" not in event]
        assert len(others) == len(beginnings)
        for event, beginning in zip(others, beginnings, strict=True):
            assert event.startswith(beginning)
        assert ": auth: " in others[4]
        assert "There it is simple-" in others[6]
        credit_events = [event for event in events if "credits" in event]
        assert sorted(credit_events) == [
            "2 credits given back", "2 credits held", "2 credits held", "2 credits taken",
        ]  # fmt: skip
        assert lines[-1].startswith(f"Job {job.pk} is completed: image/png, 64x64, ")
        code, out, _ = run("job", job.pk, "explain", "--json")
        assert (code, json.loads(out)["timeline"]) == (0, lines)

    def test_what_may_have_been_charged_is_resolved_here(
        self, fake, account, ada, monkeypatch
    ) -> None:
        monkeypatch.setattr(SimpleAdapter, "can_find", False)
        fake.script("submit", refuses(500, {}))
        job = ask(ada)
        work(lambda: ProviderSubmission.objects.filter(status="unknown").exists())
        hurry()
        ProviderSubmission.objects.update(deadline_at="2020-01-01T00:00Z")
        job = finish(job)

        _, out, _ = run("job", job.pk, "explain")
        assert f"Resolve it with: manage.py job {job.pk} resolve --charge|--release" in out
        assert out.count("credits held") == 1
        assert "given back" not in out
        assert run("job", job.pk, "resolve", "--release")[0] == 0
        assert credits.balance(ada) == 1000
        assert "2 credits given back" in run("job", job.pk, "explain")[1]
        code, _, err = run("job", job.pk, "resolve", "--charge")
        assert (code, err) == (
            1,
            f"The charge of job {job.pk} is resolved already. Nothing was changed.",
        )


# In a process of their own


def start(tmp_path: Path, *words: object, **options) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "pixsim.settings",
        "PIXSIM_ENV_FILE": str(tmp_path / "none"),
        "PIXSIM_HOME": str(tmp_path),
        "PIXSIM_BLOBS": str(tmp_path / "blobs"),
        "DATABASE_URL": database_url(),
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", *map(str, words)],
        cwd=PROJECT,
        env=environment | options.pop("env", {}),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


LOCAL = ("generate", "--provider", "local", "--operation", "text_to_image")
SMALL = ("--param", "prompt=dunes", "--param", "width=64", "--param", "height=64", "--wait")


def test_on_a_terminal_a_bar_shows_how_it_goes(blob_folder, tmp_path) -> None:
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    ours, theirs = pty.openpty()
    process = start(tmp_path, *LOCAL, *SMALL, stderr=theirs)
    os.close(theirs)
    seen = _read(ours, until="is pending")
    with working():
        seen += _read(ours, until=None)
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    assert process.returncode == 0
    assert "━" in seen
    assert "is completed: image/png, 64x64" in out


def _read(descriptor: int, *, until: str | None) -> str:
    """What is written there until it says `until`, or is closed."""
    seen, deadline = b"", time.monotonic() + 40
    while until is None or until not in seen.decode(errors="replace"):
        assert time.monotonic() < deadline, seen
        try:
            seen += os.read(descriptor, 4096)
        except OSError:  # the other end is closed
            assert until is None, seen
            break
    return seen.decode(errors="replace")


def test_ctrl_c_ends_with_130_and_the_job_goes_on(blob_folder, tmp_path) -> None:
    # As in a terminal: what a shell starts in the background ignores Ctrl-C, and hands that on.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start(tmp_path, *LOCAL, *SMALL, "--json", **heard)
    wait_until(lambda: Job.objects.exists(), seconds=40)
    assert process.stderr is not None
    assert any("is pending" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    job = Job.objects.get()
    assert process.returncode == 130
    assert json.loads(out)["status"] == job.status == "pending"
    assert f"manage.py job {job.pk} status|cancel" in err
    assert "Traceback" not in err
    services.cancel_job(job=job)


def test_without_a_database_that_is_said_and_nothing_else(tmp_path) -> None:
    nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
    both = [
        start(tmp_path, *LOCAL, "--param", "prompt=x", env=nowhere),
        start(tmp_path, "job", 7, "status", env=nowhere),
    ]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "The database does not answer" in err
        assert "Traceback" not in err


class TestFiles:
    RETOUCH = ("--provider", "local", "--operation", "image_to_image", "--param", "prompt=dusk")

    def test_a_file_is_an_input_and_an_asset_of_its_owner(self, blob_folder, ada, tmp_path) -> None:
        path = tmp_path / "panda.png"
        path.write_bytes(picture(64))

        code, out, err = run(
            "generate", *self.RETOUCH, "--owner", ada.email, "--file", f"image={path}", "--json"
        )

        assert (code, err) == (0, "")
        job = Job.objects.get()
        asset = Asset.objects.get()
        assert json.loads(out)["params"]["image"] == f"asset:{asset.pk}" == job.params["image"]
        assert (asset.user, asset.mime_type, asset.description) == (
            ada.user, "image/png", "panda.png",
        )  # fmt: skip
        job = finish(job, seconds=40)
        assert (job.status, job.asset.media_type) == ("completed", "image")

    def test_what_is_no_medium_or_not_there_is_refused_and_nothing_kept(
        self, blob_folder, ada, tmp_path
    ) -> None:
        path = tmp_path / "notes.png"
        path.write_bytes(b"just words")
        for word, said in (
            (f"image={path}", "file: notes.png: It is no picture, video or sound"),
            (f"image={tmp_path}/none.png", "none.png cannot be read: No such file"),
            ("image", "file: must be NAME=PATH, not 'image'"),
        ):
            code, _, err = run("generate", *self.RETOUCH, "--owner", ada.email, "--file", word)
            assert code == 2
            assert said in err
        path.write_bytes(picture(64))
        code, _, err = run("generate", *self.RETOUCH, "--file", f"picture={path}")
        assert code == 2
        assert "param picture" in err
        assert not Asset.objects.exists()

    def test_a_model_without_a_schema_takes_files_by_the_names_of_its_fields(
        self, blob_folder, ada, tmp_path
    ) -> None:
        path = tmp_path / "panda.png"
        path.write_bytes(picture(64))
        other = (
            "generate", "--provider", "replicate", "--operation", "image_to_image",
            "--model", "somebody/restorer", "--owner", ada.email,
        )  # fmt: skip

        code, _, err = run(*other, "--param", 'input={"scale": 2}', "--file", f"img={path}")
        assert (code, err) == (0, "")
        job, asset = Job.objects.get(), Asset.objects.get()
        assert job.params == {"input": {"scale": 2}, "files": {"img": f"asset:{asset.pk}"}}

        code, _, err = run(*other, "--param", 'files={"img": "asset:777"}')
        assert (code, err) == (2, "param files.img: there is no asset:777.")
        code, _, err = run(*other, "--param", "files=asset:777", "--file", f"img={path}")
        assert code == 2
        assert "param files" in err
