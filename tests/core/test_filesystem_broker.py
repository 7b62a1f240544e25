"""The broker in a folder: a message is whole once it has its name, and half a one ends nothing."""

from pathlib import Path

import pytest
from kombu import Connection

from pixsim import celery  # noqa: F401  names the transport


@pytest.fixture
def connection(tmp_path: Path):
    options = {
        "data_folder_in": str(tmp_path),
        "data_folder_out": str(tmp_path),
        "control_folder": str(tmp_path / "control"),
    }
    with Connection("filesystem://", transport_options=options) as connection:
        yield connection


def test_a_message_that_cannot_be_read_is_dropped_and_the_next_one_comes(connection, tmp_path):
    with connection.SimpleQueue("celery") as queue:
        (tmp_path / "0_half.celery.msg").write_bytes(b"")
        queue.put({"n": 1})
        message = queue.get(timeout=5)
        assert message.payload == {"n": 1}
        message.ack()


def test_a_reader_never_sees_a_file_that_is_not_finished(connection, tmp_path, monkeypatch):
    seen = []
    write = Path.write_text

    def look(self, text, *args, **kwargs):
        write(self, text[: len(text) // 2])
        seen.extend(path.name for path in tmp_path.iterdir() if path.name.endswith(".other.msg"))
        return write(self, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", look)
    # Another name: kombu remembers in this process that the first queue was bound.
    with connection.SimpleQueue("other") as queue:
        queue.put("whole")
        assert seen == []
        assert queue.get(timeout=5).payload == "whole"
