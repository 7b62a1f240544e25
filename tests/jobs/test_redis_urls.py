"""Redis behind TLS and behind a Sentinel: a worker takes messages through each, by its URL alone."""

import contextlib
import datetime
import ipaddress
import shutil
import subprocess
import time

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.crawler.pictures import jpeg
from tests.pixsim.support import free_port
from tests.site import Site
from tests.world import World

SERVER = shutil.which("redis-server")
"""The installed one: the packaged one has no TLS."""

pytestmark = [
    pytest.mark.workers,
    pytest.mark.long,
    pytest.mark.skipif(SERVER is None, reason="no installed redis-server on this machine"),
]


@contextlib.contextmanager
def running(folder, port, *words, **connection):
    """Run a Redis with these words on its command line until the block ends."""
    log = (folder / f"{port}.log").open("wb")
    process = subprocess.Popen(
        [SERVER, *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 20
        while not answers(port, **connection):
            assert time.monotonic() < deadline, (folder / f"{port}.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def answers(port, **connection):
    with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
        return redis.Redis("127.0.0.1", port, **connection).ping()
    return False


@pytest.fixture
def tls(tmp_path):
    """The URL of a Redis that speaks TLS alone, with a certificate of its own."""
    certificate = certificate_in(tmp_path)
    port = free_port()
    words = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--save", ""]
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(tmp_path / "key.pem")]
    files += ["--tls-ca-cert-file", str(certificate)]
    with running(tmp_path, port, *words, *files, ssl=True, ssl_ca_certs=str(certificate)):
        yield f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={certificate}"


@pytest.fixture
def sentinel(tmp_path):
    """The URL of a Sentinel that knows where the master is, which asks for a password."""
    master, port = free_port(), free_port()
    (tmp_path / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor pix 127.0.0.1 {master} 1\n"
        "sentinel auth-pass pix hidden\n"
    )
    words = ["--port", str(master), "--bind", "127.0.0.1", "--save", "", "--requirepass", "hidden"]
    with (
        running(tmp_path, master, *words, password="hidden"),
        running(tmp_path, port, "sentinel.conf", "--sentinel"),
    ):
        yield f"sentinel://:hidden@127.0.0.1:{port}/0?master_name=pix"


def certificate_in(folder):
    """Write key.pem and a certificate for 127.0.0.1 that signs itself; return its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pixsim test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def answer(path, times):
    if path == "/robots.txt":
        return 404, "text/plain", b""
    return 200, "image/jpeg", jpeg(96, 72, seed=int(path[1:-4]))


@pytest.mark.parametrize("kind", ["tls", "sentinel"])
def test_a_worker_takes_messages(kind, request):
    url = request.getfixturevalue(kind)
    with Site(answer) as site, World(broker=url) as world:
        (world.home / "list.txt").write_text("\n".join(f"{site.url}/{n}.jpg" for n in range(4)))
        worker = world.start_worker("--loglevel", "INFO", concurrency=1)
        world.wait_until(lambda: "ready." in world.log(), seconds=30, what="the worker")
        listed = str(world.home / "list.txt")
        job = world.crawl("--source", "urls", "--from", listed, "--max-images", "4")
        done = "SELECT status FROM crawl_jobs WHERE id = %s"
        world.wait_until(
            lambda: world.sql(done, job) == [("completed",)], seconds=30, what="the crawl"
        )

        assert "received" in world.log()
        assert "hidden" not in world.log()
        assert worker.poll() is None
