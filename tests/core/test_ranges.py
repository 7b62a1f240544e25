"""Which part of a file a Range header asks for."""

import io

import pytest

from pixsim.core.ranges import bytes_of, part_of


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-3", b"0123"),
        ("bytes=8-", b"89"),
        ("bytes=-3", b"789"),
        ("bytes=5-500", b"56789"),
        ("bytes=-500", b"0123456789"),
        ("bytes=10-", b""),
        ("bytes=-0", b""),
    ],
)
def test_a_part(header: str, part: bytes) -> None:
    found = part_of(header, size=10)
    assert found is not None
    file = io.BytesIO(b"0123456789")
    assert b"".join(bytes_of(file, found)) == part
    assert file.closed


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"],
)
def test_all_of_it(header: str | None) -> None:
    assert part_of(header, size=10) is None
