"""Confined processes, for real: what a parser that was taken over can do, and what its parent sees."""

import json
import os
import pwd
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pixsim.core.confined import Confined, Died, Unavailable, process
from pixsim.core.confined import child as child_module
from tests.core.confined import attacker

MODULE = "tests.core.confined.attacker"
PROJECT = Path(__file__).parent.parent.parent.parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")


@pytest.fixture
def child():
    confined = Confined(MODULE, memory_bytes=64 * 1024**2)
    yield confined
    confined.close()


def ask(confined: Confined, *header, body=b"", answers=1, seconds=20.0, **options):
    wanted = {"answers": answers, "seconds": seconds, "check": lambda answer, data: (answer, data)}
    return list(confined.ask(header, [body], **wanted, **options))


def everything(parent: int, blob: str, folder: str) -> dict[str, str]:
    places = {"parent": parent, "blob": blob, "folder": folder}
    confined = Confined(MODULE, memory_bytes=64 * 1024**2, options=places)
    try:
        return {name: ask(confined, "try", name)[0][0] for name in attacker.attempts(**places)}
    finally:
        confined.close()


def test_nothing_that_a_taken_over_parser_tries_succeeds(tmp_path):
    """As whoever runs the tests: as root in a container."""
    blob = tmp_path / "blob"
    blob.write_bytes(b"picture")
    found = everything(os.getpid(), str(blob), str(tmp_path))
    assert {name: how for name, how in found.items() if how == "DONE"} == {}
    assert len(found) > 30
    assert blob.read_bytes() == b"picture"
    assert os.listdir(tmp_path) == ["blob"]


AS_NOBODY = """
import json, os, signal, sys, time
from pixsim.core.confined import sandbox
from tests.core.confined import attacker
blob, folder, nobody = sys.argv[1], sys.argv[2], int(sys.argv[3])
attacker.prepare()
os.setgid(nobody)
os.setuid(nobody)
victim = os.fork()  # of the same user, and without any protection of its own
if not victim:
    time.sleep(60)
    os._exit(0)
tries = attacker.attempts(victim, blob, folder)
fork = os.fork()
if not fork:
    assert sandbox.confine(64 * 1024**2) == []
    found = {name: attacker._outcome(attempt) for name, attempt in tries.items()}
    os.write(1, json.dumps(found).encode())
    os._exit(0)
os.waitpid(fork, 0)
assert os.waitpid(victim, os.WNOHANG) == (0, 0), "the victim was killed"
os.kill(victim, signal.SIGKILL)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_the_same_as_another_user(tmp_path):
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = tmp_path / "folder"
    folder.mkdir()
    blob = folder / "blob"
    blob.write_bytes(b"picture")
    for path in (folder, blob):
        os.chown(path, nobody, nobody)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, blob, folder, str(nobody)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert [name for name, how in found.items() if how == "DONE"] == []
    assert len(found) > 30
    assert blob.read_bytes() == b"picture"


def test_what_is_tried_would_succeed_elsewhere(tmp_path):
    blob = tmp_path / "blob"
    blob.write_bytes(b"picture")
    tries = attacker.attempts(os.getpid(), str(blob), str(tmp_path))
    harmless = (
        "read a file",
        "read the parent's environment",
        "list a folder",
        "see a file",
        "make a file",
        "rename a blob",
        "start a thread",
        "make a socket",
        "make a pipe",
        "load code",
    )
    assert {attacker._outcome(tries[name]) for name in harmless} == {"DONE"}


def test_without_landlock_the_filter_alone_stops_everything(tmp_path, monkeypatch, caplog):
    """The same list with seccomp only, as on an older kernel."""
    blob = tmp_path / "blob"
    blob.write_bytes(b"picture")
    monkeypatch.setattr(process, "CHILD", "tests.core.confined.without_landlock")
    started = Confined(
        MODULE,
        memory_bytes=64 * 1024**2,
        options={"parent": os.getpid(), "blob": str(blob), "folder": str(tmp_path)},
    )
    try:
        [(names, _)] = ask(started, "names")
        found = {name: ask(started, "try", name)[0][0] for name in names}
    finally:
        started.close()
    assert [name for name, how in found.items() if how == "DONE"] == []
    assert "without landlock" in caplog.text


def test_it_sees_no_environment_and_no_files_of_its_parent(child, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_KEY", "secret")
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    with open(tmp_path / "open", "w") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        [(environment, _)] = ask(child, "environment")
        [(files, _)] = ask(child, "files")
    assert "secret" not in str(environment)
    assert not {"SECRET_KEY", "DATABASE_URL", "HOME", "PATH"} & environment.keys()
    assert files[:4] == [0, 1, 2, 3]  # the last one for the answers
    assert len(files) == 5  # and one for how far it is


def test_requests_and_answers_of_any_size(child):
    for size in (0, 1, 70_000, 3_000_000):
        data = os.urandom(size)
        assert ask(child, "echo", size, body=data, max_bytes=2**24) == [("echo", data)]
    assert ask(child, "ignore the body", body=bytes(2_000_000)) == [("ignored", b"")]
    assert ask(child, "count", 50_000, answers=50_000)[-1] == (49_999, b"")


def test_a_crash_is_told_with_what_it_had_begun(child):
    seen = []
    answers = child.ask(
        ["crash at", 3], answers=5, seconds=20, check=lambda answer, data: seen.append(answer)
    )
    with pytest.raises(Died, match="signal 11") as died:
        list(answers)
    assert seen == []
    assert (died.value.begun, died.value.is_certain) == (4, True)
    assert ask(child, "count", 1) == [(0, b"")]


def test_whoever_has_all_answers_knows_all_that_was_begun(monkeypatch):
    """Else what is left in the pipe would be counted for the next request, and the wrong one blamed."""
    read, write = os.pipe()
    begun = []

    def sent(file: int, data: bytes) -> None:
        begun.append(len(os.read(read, 100)))

    monkeypatch.setattr(child_module, "_write", sent)
    monkeypatch.setattr(child_module, "SENT_SECONDS", 0.0)
    child_module._answer(iter([(1, b""), (2, b"")]), -1, write)
    os.close(write)
    assert begun == [2, 1]
    assert os.read(read, 100) == b""
    os.close(read)


def test_what_computes_too_long_ends_and_what_waits_too_long_is_ended(child):
    with pytest.raises(Died, match="processor time") as died:
        ask(child, "compute", 0.2)
    assert died.value.is_certain
    begun = time.monotonic()
    with pytest.raises(Died, match="no answer") as died:
        ask(child, "compute", 0, seconds=0.5)  # as if it had taken its limit away
    assert time.monotonic() - begun < 10
    assert not died.value.is_certain


def test_more_memory_than_allowed_is_refused(child):
    with pytest.raises(Died, match="exit code 1"):
        ask(child, "memory", 200 * 1024**2)


@pytest.mark.parametrize(
    "raw",
    [
        "\0\0\0\2\0\0\0\0{",
        "\0\0\0\2\0\0\0\0{]",
        "\xff\xff\xff\xff\0\0\0\0",
        "\0\0\0\2\xff\xff\xff\xff{}",
        "\0\0\x27\x10\0\0\0\0" + "[" * 10_000,
        "\0\0\x17\x70\0\0\0\0" + "9" * 6000,
    ],
    ids=["cut", "no JSON", "header too long", "body too long", "too deep", "too many digits"],
)
def test_what_it_answers_is_checked(child, raw):
    with pytest.raises(Died):
        ask(child, "raw", raw, seconds=1.0)
    assert ask(child, "count", 1) == [(0, b"")]


def test_answers_without_end_do_not_fill_the_parents_memory(child):
    """It reads answers while it sends, and this child only writes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    body = bytes(50_000_000)
    with pytest.raises(Died, match="more than it was asked for"):
        ask(child, "flood", body=body)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert growth < 100_000  # the body itself, in kB, and some
    assert ask(child, "count", 1) == [(0, b"")]


def test_an_answer_that_makes_no_sense_to_the_caller_ends_it(child):
    def check(answer, data):
        raise ValueError("not what was asked for")

    with pytest.raises(Died, match="not what was asked for"):
        list(child.ask(["count", 1], seconds=20, check=check))
    assert child.pid is None


def test_what_does_not_start_says_what_to_try():
    with pytest.raises(Unavailable, match=r"exit code 1.*no\.such\.module"):
        ask(Confined("no.such.module", memory_bytes=2**20), "count", 1)


@pytest.mark.parametrize("call", ["pipe", "fork"])
def test_a_system_without_room_for_a_process_is_no_fault_of_what_was_to_be_parsed(
    child, monkeypatch, call
):
    def refused(*arguments, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    files = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        if call == "pipe":
            patch.setattr(process.os, "pipe", refused)
        else:
            patch.setattr(process.subprocess, "Popen", refused)
        for _ in range(3):
            with pytest.raises(Unavailable, match="temporarily unavailable"):
                ask(child, "count", 1)
    assert len(os.listdir("/proc/self/fd")) == files
    assert ask(child, "count", 1) == [(0, b"")]
