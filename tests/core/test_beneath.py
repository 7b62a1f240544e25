"""Files are opened below their folder, whatever becomes a link meanwhile."""

import os
import threading
from pathlib import Path

import pytest

from pixsim.core.beneath import NotAFile, Outside, open_beneath, open_parts


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An allowed folder and a secret one, each with sub/deep/picture.jpg."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    for folder, content in ((root, b"allowed"), (secret, b"secret")):
        (folder / "sub" / "deep").mkdir(parents=True)
        (folder / "sub" / "deep" / "picture.jpg").write_bytes(content)
    return root, secret


def read(path: Path, root: Path) -> bytes:
    with open_beneath(path, [root]) as file:
        return file.read()


def test_links_inside_are_followed_and_links_that_leave_are_refused(folders) -> None:
    root, secret = folders
    (root / "again.jpg").symlink_to("sub/deep/picture.jpg")
    (root / "folder").symlink_to(root / "sub")
    (root / "away.jpg").symlink_to(secret / "sub/deep/picture.jpg")
    (root / "away").symlink_to(secret)
    assert read(root / "sub/deep/picture.jpg", root) == b"allowed"
    assert read(root / "again.jpg", root) == b"allowed"
    assert read(root / "folder/deep/picture.jpg", root) == b"allowed"
    for path in ("away.jpg", "away/sub/deep/picture.jpg", "../secret/sub/deep/picture.jpg"):
        with pytest.raises(Outside):
            open_beneath(root / path, [root])
    for path in (secret / "sub/deep/picture.jpg", Path(f"{root}x"), Path("/etc/passwd")):
        with pytest.raises(Outside):
            open_beneath(path, [root])


def test_a_root_may_be_a_link_itself_and_there_may_be_several(folders, tmp_path) -> None:
    root, secret = folders
    (tmp_path / "link").symlink_to(root)
    with open_beneath(tmp_path / "link/sub/deep/picture.jpg", [secret, tmp_path / "link"]) as file:
        assert file.read() == b"allowed"


def test_what_is_no_file_is_not_read_and_nobody_waits_for_it(folders) -> None:
    root, _ = folders
    os.mkfifo(root / "pipe.jpg")
    for path in (root, root / "sub", root / "pipe.jpg"):
        with pytest.raises(NotAFile):
            open_beneath(path, [root])
    with pytest.raises(FileNotFoundError):
        open_beneath(root / "sub/none.jpg", [root])
    with pytest.raises(ValueError, match="null"):
        open_beneath(f"{root}/a\0b", [root])


@pytest.mark.parametrize("swapped", ["sub", "sub/deep", "sub/deep/picture.jpg"])
def test_a_component_that_became_a_link_after_it_was_looked_at_is_not_followed(
    folders, swapped
) -> None:
    root, secret = folders
    (root / swapped).rename(root / "moved")
    (root / swapped).symlink_to(secret / swapped)
    with pytest.raises(OSError, match=r"(?i)symbolic|directory"):
        open_parts(os.fsencode(root), [b"sub", b"deep", b"picture.jpg"], os.O_RDONLY)


def test_a_folder_that_is_swapped_all_the_time_shows_nothing_of_another(folders) -> None:
    root, secret = folders
    over = threading.Event()

    def swap() -> None:
        link = root / "link"
        while not over.is_set():
            link.symlink_to(secret / "sub")
            (root / "sub").rename(root / "moved")
            link.rename(root / "sub")
            (root / "sub").unlink()
            (root / "moved").rename(root / "sub")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen, refused = set(), 0
    try:
        for _ in range(3000):
            try:
                seen.add(read(root / "sub/deep/picture.jpg", root))
            except OSError:
                refused += 1
    finally:
        over.set()
        swapper.join()
    assert seen == {b"allowed"}
    assert refused
