"""What is kept on disk is readable for us alone, whatever the umask is, and what was open is closed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.export.files import written_aside
from crawler.sources.urls import list_files
from pixsim.core import private
from pixsim.core.blobs.local import BlobStorage
from pixsim.service_urls import broker_from_url
from providers.adapters.local.memory import Generation, Memory

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
KEY = "ab/ab" + "0" * 62


@pytest.fixture(autouse=True, params=[0o022, 0o000], ids=["022", "000"])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> set[tuple[bool, str]]:
    """Whether each entry below the folder, and the folder, is a folder, and its mode."""
    entries = [folder, *folder.rglob("*")]
    return {(each.is_dir(), oct(each.stat().st_mode & 0o777)) for each in entries}


def test_blobs(tmp_path: Path) -> None:
    storage = BlobStorage(location=str(tmp_path / "home" / "blobs"))
    storage.put_bytes(KEY, b"x")
    assert modes(tmp_path / "home") == {(True, "0o700"), (False, "0o600")}


def test_blobs_of_an_older_version_are_closed_when_the_storage_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    (folder / "ab").mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    BlobStorage(location=str(folder))
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_an_operator_may_share_blobs_with_a_group(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    shared = {"file_permissions_mode": 0o640, "directory_permissions_mode": 0o750}
    for _ in range(2):
        BlobStorage(location=str(folder), **shared).put_bytes(KEY, b"x")
    assert modes(folder) == {(True, "0o750"), (False, "0o640")}


def test_cached_lists(tmp_path: Path, settings: Any) -> None:
    settings.PIXSIM_HOME = tmp_path / "home"
    folder = list_files._folder()
    folder.chmod(0o755)
    with list_files._new_file() as file:
        file.write(b"x")
        assert modes(folder) == {(True, "0o700"), (False, "0o600")}


def test_exports(tmp_path: Path) -> None:
    folder = private.make_folder(tmp_path / "new" / "exports")
    with written_aside(folder / "a.zip") as aside:
        aside.write_bytes(b"x")
    assert modes(tmp_path / "new") == {(True, "0o700"), (False, "0o600")}


def test_a_folder_of_somebody_s_own_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private.make_folder(tmp_path)
    assert oct(tmp_path.stat().st_mode & 0o777) == "0o755"


def test_messages_in_a_folder(tmp_path: Path) -> None:
    broker_from_url(f"filesystem://{tmp_path}/broker", timeout=1)
    with open(tmp_path / "broker" / "queue" / "m", "w", opener=private.opener) as file:
        file.write("x")
    assert modes(tmp_path / "broker") == {(True, "0o700"), (False, "0o600")}


def test_generations_that_are_done_later(tmp_path: Path) -> None:
    one = Generation(
        reference="r", operation="o", model="m", params={}, accepted_at=1.0, ready_at=2.0
    )
    Memory(tmp_path / "memory").keep(one)
    assert oct((tmp_path / "memory").stat().st_mode & 0o777) == "0o700"
