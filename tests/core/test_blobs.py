import datetime
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from pixsim.core import blobs

OLD = time.time() - 2 * 3600


@pytest.fixture
def folder(settings, tmp_path: Path) -> Path:
    use_folder(settings, tmp_path / "blobs")
    return tmp_path / "blobs"


def use_folder(settings, location: Path) -> None:
    options = {"location": str(location)}
    backend = {"BACKEND": "pixsim.core.blobs.local.BlobStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def start_script(script: str, location: Path, *, within: list[str] | None = None):
    """Run `script` in a process of its own that stores blobs under `location`."""
    prelude = f"""
import hashlib, os, sys, threading
from datetime import timedelta
from django.conf import settings
settings.configure(STORAGES={{"blobs": {{
    "BACKEND": "pixsim.core.blobs.local.BlobStorage", "OPTIONS": {{"location": {str(location)!r}}}}}}})
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from pixsim.core import blobs
"""
    return subprocess.Popen(
        [*(within or []), sys.executable, "-c", prelude + script],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_stored_bytes_come_back_under_their_hash(folder: Path) -> None:
    data = os.urandom(60_000)
    key = blobs.put(data, suffix=".jpg")
    digest = sha256(data)
    assert key == f"{digest[:2]}/{digest}.jpg"
    assert blobs.local_path(key) == folder / key
    assert (folder / key).read_bytes() == data
    with blobs.open_blob(key) as blob:
        assert blob.read() == data
    assert blobs.read(key) == data
    assert blobs.exists(key)
    assert blobs.size(key) == len(data)
    blobs.delete(key)
    blobs.delete(key)
    assert not blobs.exists(key)
    with pytest.raises(FileNotFoundError):
        blobs.open_blob(key)
    for use in (blobs.size, blobs.read):
        with pytest.raises(FileNotFoundError):
            use(key)
    (folder / key).mkdir()
    with pytest.raises(blobs.BlobStorageError, match=rf"{key} cannot be read"):
        blobs.read(key)


def test_bytes_that_are_there_are_not_written_again_unless_their_size_is_wrong(
    folder: Path,
) -> None:
    key = blobs.put(b"picture", suffix=".png", sha256=sha256(b"picture"))
    written = (folder / key).stat().st_ino
    os.utime(folder / key, (OLD, OLD))
    assert blobs.put(b"picture", suffix=".png") == key
    assert (folder / key).stat().st_ino == written
    assert (folder / key).stat().st_mtime > OLD  # young again: the sweep of orphans spares it
    (folder / key).write_bytes(b"")
    blobs.put(b"picture", suffix=".png")
    assert (folder / key).read_bytes() == b"picture"


@pytest.mark.parametrize(
    ("digest", "suffix"),
    [
        ("../" * 21 + "x", ".jpg"),
        ("A" * 64, ".jpg"),
        ("a" * 63, ".jpg"),
        ("a" * 64 + "\n", ".jpg"),
        ("a" * 64, "jpg"),
        ("a" * 64, "./../x"),
        ("a" * 64, ".JPG"),
        ("a" * 64, ".tmp/../../x"),
    ],
)
def test_only_a_hash_and_an_extension_make_a_name(digest: str, suffix: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        blobs.key_for(digest, suffix)


def test_no_key_leads_out_of_the_folder(folder: Path) -> None:
    for use in (blobs.open_blob, blobs.exists, blobs.size, blobs.delete, blobs.local_path):
        with pytest.raises(SuspiciousFileOperation):
            use("../outside")


def test_many_writers_of_the_same_bytes_leave_one_whole_file(folder: Path) -> None:
    data = os.urandom(300_000)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: blobs.put(data, suffix=".jpg"), range(40)))
    assert files_under(folder) == [folder / key for key in keys]
    assert (folder / keys.pop()).read_bytes() == data


def test_saving_by_djangos_way_replaces_the_file_under_the_same_name(folder: Path) -> None:
    storage = storages["blobs"]
    assert storage.save("a/b.bin", ContentFile(b"one")) == "a/b.bin"
    assert storage.save("a/b.bin", ContentFile(b"two")) == "a/b.bin"
    assert [path.read_bytes() for path in files_under(folder)] == [b"two"]


def test_keys_are_listed_in_order_and_nothing_else_is(folder: Path) -> None:
    assert list(blobs.iter_keys()) == []
    keys = [blobs.put(os.urandom(10), suffix=suffix) for suffix in (".jpg", ".png", "") * 30]
    storages["blobs"].save("ab/export.zip", ContentFile(b"zip"))
    storages["blobs"].save("ab/export.zip", ContentFile(b"zip"))
    (folder / Path(keys[0]).parent / f".{Path(keys[0]).name}.0a.tmp").write_bytes(b"half")
    os.utime(folder / keys[0], (OLD, OLD))
    listed = list(blobs.iter_keys())
    assert [key for key, _ in listed] == sorted(keys)
    assert dict(listed)[keys[0]].timestamp() == pytest.approx(OLD)
    assert all(modified_at.tzinfo is datetime.UTC for _, modified_at in listed)


def test_a_writer_killed_in_the_middle_leaves_no_file_under_the_final_name(folder: Path) -> None:
    script = """
class Slow(ContentFile):
    def chunks(self, chunk_size=None):
        yield b"half"
        print("half written", flush=True)
        threading.Event().wait()
storages["blobs"].save("a/b.bin", Slow(b"half and half"))
"""
    with start_script(script, folder) as process:
        assert process.stdout.readline() == "half written\n"
        process.kill()
    assert not blobs.exists("a/b.bin")
    [left] = files_under(folder)
    assert list(blobs.iter_stale_temporaries()) == []
    os.utime(left, (OLD, OLD))
    assert list(blobs.iter_stale_temporaries()) == [left.relative_to(folder).as_posix()]
    assert blobs.sweep_temporaries() == 1
    assert files_under(folder) == []


def test_whenever_a_writer_is_killed_every_file_has_the_bytes_of_its_name(folder: Path) -> None:
    script = """
while True:
    blobs.put(os.urandom(2_000_000), suffix=".jpg")
    print("stored", flush=True)
"""
    for stored in (1, 4, 9):
        with start_script(script, folder) as process:
            for _ in range(stored):
                assert process.stdout.readline() == "stored\n"
            process.kill()
    keys = [key for key, _ in blobs.iter_keys()]
    assert len(keys) >= 14
    for key in keys:
        assert sha256((folder / key).read_bytes()) == Path(key).stem


def test_a_failed_write_names_the_place_and_leaves_nothing_behind(settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    use_folder(settings, tmp_path / "file")
    with pytest.raises(blobs.BlobStorageError, match="file: Not a directory"):
        blobs.put(b"picture", suffix=".jpg")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the source broke off")

    use_folder(settings, tmp_path / "blobs")
    content = ContentFile(b"half")
    content.chunks = lambda chunk_size=None: broken()
    with pytest.raises(blobs.BlobStorageError, match="the source broke off"):
        storages["blobs"].save("a.bin", content)
    assert files_under(tmp_path / "blobs") == []


def test_a_full_disk_is_said_clearly_and_harms_nothing_that_was_stored(tmp_path: Path) -> None:
    """On a file system of 1 MiB of our own, mounted in a namespace that ends with the process."""
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    within += ['mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*within, "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a small file system (unshare, tmpfs)")
    script = """
keys = []
try:
    while len(keys) < 100:
        keys.append(blobs.put(os.urandom(60_000), suffix=".jpg"))
except blobs.BlobStorageFull as error:
    print(len(keys), error)
for key in keys:
    assert hashlib.sha256(blobs.open_blob(key).read()).hexdigest() in key
assert [key for key, _ in blobs.iter_keys()] == sorted(keys)
assert not list(blobs.iter_stale_temporaries(older_than=timedelta(0)))
blobs.delete(keys[0])
blobs.put(os.urandom(60_000), suffix=".jpg")
print("room again")
"""
    with start_script(script, tmp_path, within=within) as process:
        full, again = process.stdout.read().splitlines()
    assert process.returncode == 0
    stored, _, words = full.partition(" ")
    assert int(stored) > 5
    assert words.startswith(f"No space left for blobs in {tmp_path}")
    assert again == "room again"


@dataclass
class Bucket:
    """What a small S3 server over real HTTP holds, and what it was asked to do."""

    objects: dict[str, bytes] = field(default_factory=dict)
    methods: list[str] = field(default_factory=list)
    full: bool = False
    url: str = ""
    modified_at: float = field(default_factory=time.time)


@pytest.fixture
def bucket(settings) -> Iterator[Bucket]:
    bucket = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def parse_request(self) -> bool:
            """Note the method before the answer: a test looks as soon as it has that."""
            is_request = super().parse_request()
            bucket.methods.append(self.command)
            return is_request

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        @property
        def name(self) -> str:
            return unquote(urlsplit(self.path).path).removeprefix("/pictures/")

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if bucket.full:
                code = b"<Error><Code>XMinioStorageFull</Code><Message>Full</Message></Error>"
                return self.answer(507, code)
            bucket.objects[self.name] = data
            return self.answer(200, ETag='"x"')

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            if "list-type" in query or "prefix" in query:
                return self.answer(200, self.listing(query["prefix"][0]))
            data = bucket.objects.get(self.name)
            modified = {"Last-Modified": formatdate(bucket.modified_at, usegmt=True)}
            return self.answer(404) if data is None else self.answer(200, data, **modified)

        do_HEAD = do_GET

        def do_DELETE(self) -> None:
            bucket.objects.pop(self.name, None)
            self.answer(204)

        def listing(self, prefix: str) -> bytes:
            items = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(data)}</Size>"
                "<LastModified>2026-03-01T12:00:00.000Z</LastModified></Contents>"
                for name, data in sorted(bucket.objects.items())
                if name.startswith(prefix)
            )
            return (
                '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
            ).encode()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    use_bucket(settings, bucket.url)
    yield bucket
    server.shutdown()
    server.server_close()
    thread.join()


def use_bucket(settings, url: str) -> None:
    from botocore.config import Config

    options = {
        "bucket_name": "pictures",
        "location": "pix/sim",
        "endpoint_url": url,
        "access_key": "key",
        "secret_key": "secret",
        "region_name": "us-east-1",
        "client_config": Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
    }
    backend = {"BACKEND": "pixsim.core.blobs.s3.S3BlobStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


def test_the_same_functions_work_on_a_bucket(bucket: Bucket) -> None:
    data = os.urandom(60_000)
    key = blobs.put(data, suffix=".jpg")
    assert blobs.put(data, suffix=".jpg") == key
    assert bucket.methods.count("PUT") == 1
    bucket.modified_at = OLD
    blobs.put(data, suffix=".jpg")
    assert bucket.methods.count("PUT") == 2  # young again: the sweep of orphans spares it
    assert bucket.objects == {f"pix/sim/{key}": data}
    with blobs.open_blob(key) as blob:
        assert blob.read() == data
    assert blobs.read(key) == data
    assert blobs.exists(key)
    assert blobs.size(key) == len(data)
    assert blobs.local_path(key) is None
    assert blobs.sweep_temporaries() == 0
    bucket.objects |= {"pix/sim/ab/export.zip": b"zip", "elsewhere/" + key: b"x"}
    modified_at = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
    assert list(blobs.iter_keys()) == [(key, modified_at)]
    blobs.delete(key)
    assert not blobs.exists(key)
    for use in (blobs.open_blob, blobs.size, blobs.read):
        with pytest.raises(FileNotFoundError):
            use(key)


def test_a_full_or_absent_bucket_is_said_clearly(settings, bucket: Bucket) -> None:
    bucket.full = True
    with pytest.raises(blobs.BlobStorageFull, match="bucket pictures"):
        blobs.put(b"picture", suffix=".jpg")
    use_bucket(settings, "http://127.0.0.1:1")
    with pytest.raises(blobs.BlobStorageError, match="bucket pictures"):
        blobs.put(b"picture", suffix=".jpg")
    with pytest.raises(blobs.BlobStorageError, match="cannot be read"):
        blobs.read(blobs.key_for(sha256(b"picture"), ".jpg"))
