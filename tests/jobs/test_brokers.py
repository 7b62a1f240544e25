"""The same work on Redis, RabbitMQ and the filesystem broker, chosen by the broker's URL alone.

The broker carries notifications only: losing its messages costs a second, losing the broker costs speed.
"""

import base64
import contextlib
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import amqp
import pytest
import redis

from pixsim.embedded.redis import SOCKET_NAME
from tests.crawler.pictures import jpeg
from tests.jobs.backlog import claims_of, record_claims
from tests.pixsim.support import free_port
from tests.site import Site
from tests.world import World, has_redis

pytestmark = pytest.mark.workers

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The server's own script; the one on the PATH insists on being root or `rabbitmq`."""
START_SECONDS = 60


class RabbitBroker:
    """A node of our own on loopback, with its own folders, cookie and name service."""

    def __init__(self):
        self._home = Path(tempfile.mkdtemp(prefix="pixsim-rabbit-", dir="/tmp"))
        self._port, self._distribution, self._names = (free_port() for _ in range(3))
        self._log = (self._home / "out.log").open("wb")
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        # As a daemon of its own it would stay when the node ends.
        self._epmd = self._run(
            "epmd", "-port", str(self._names), "-address", "127.0.0.1", ERL_EPMD_PORT=""
        )
        self._node = None

    def start(self):
        if self._node is not None:
            return
        self._node = self._run(str(RABBITMQ))
        deadline = time.monotonic() + START_SECONDS
        while not answers(self._port):
            assert self._node.poll() is None, (self._home / "out.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "RabbitMQ does not start"
            time.sleep(0.1)

    def stop(self):
        if self._node is not None:
            end(self._node)
            self._node = None

    def remove(self):
        self.stop()
        end(self._epmd)
        self._log.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, *command, **environment):
        home = str(self._home)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": home,
                "ERL_EPMD_PORT": str(self._names),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODENAME": f"pixsim{self._port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(self._port),
                "RABBITMQ_DIST_PORT": str(self._distribution),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
                "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
                "RABBITMQ_LOG_BASE": f"{home}/log",
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
                "RABBITMQ_CONF_ENV_FILE": f"{home}/none",
                "RABBITMQ_CONFIG_FILE": f"{home}/none",
                **environment,
            },
        )


def answers(port):
    with contextlib.suppress(OSError, amqp.AMQPError), amqp.Connection(f"127.0.0.1:{port}"):
        return True
    return False


def end(process):
    """End a process and what it started: it has a session of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
            return


@pytest.fixture(scope="module")
def site():
    with Site(answer) as site:
        yield site


def answer(path, times):
    if path == "/robots.txt":
        return 404, "text/plain", b""
    return 200, "image/jpeg", jpeg(96, 72, seed=int(path[1:-4]))


@pytest.fixture(scope="module")
def world(site):
    with World(broker="filesystem") as world:
        record_claims(world)
        (world.home / "list.txt").write_text("\n".join(f"{site.url}/{n}.jpg" for n in range(8)))
        yield world


@pytest.fixture(
    scope="module", params=["redis", pytest.param("rabbitmq", marks=pytest.mark.long), "filesystem"]
)
def broker(request, world):
    """The server of a broker, not running yet; None for the one that has none."""
    if request.param == "redis" and not has_redis():
        pytest.skip("no redis-server on this machine")
    if request.param == "rabbitmq" and not (RABBITMQ.exists() and shutil.which("epmd")):
        pytest.skip("no rabbitmq-server on this machine")
    if request.param == "rabbitmq":
        broker = RabbitBroker()
        world.broker = broker.url
        yield broker
        broker.remove()
    else:
        world.broker = request.param
        yield world.redis if request.param == "redis" else None
        world.redis.stop()


@pytest.fixture(scope="module")
def worker(world, broker):
    """Started while its broker is away."""
    worker = world.start_worker(concurrency=2)
    yield worker
    world.kill(worker)


@pytest.fixture
def connected_worker(world, broker, worker):
    """The worker when its broker is there, and nobody works without it any more."""
    if broker is not None:
        broker.start()
    deadline = time.monotonic() + 60
    while "work@" in crawl(world)[0].task_id:
        assert time.monotonic() < deadline, f"the broker is not used again\n{world.log()[-3000:]}"
    world.wait_until(
        lambda: not world.fallback_workers(worker),
        seconds=20,
        what="the end of the fallback workers",
    )
    return worker


CRAWL = """
import time
from crawler.models import CrawlJob
from crawler.services.accepting import SourceSpec, create_crawl_job
for _ in range({times}):
    source = SourceSpec("urls", {listed!r})
    job = create_crawl_job(owner=None, name="small", max_images=4, source_specs=[source])
    deadline = time.monotonic() + 30
    while CrawlJob.objects.get(pk=job.pk).is_open:
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.05)
    print(job.pk)
"""


def crawl(world, *, times=1):
    """Small crawls one after the other, asked for by a web process; the first claim of each."""
    code = CRAWL.format(times=times, listed=str(world.home / "list.txt"))
    client = world.python(code)
    jobs = [int(line) for line in client.communicate(timeout=120)[0].split()]
    assert client.returncode == 0, world.log()[-3000:]
    done = "SELECT status, valid_images FROM crawl_jobs WHERE id = ANY(%s)"
    assert world.sql(done, jobs) == [("completed", 4)] * times
    return [claims_of(world, job)[0] for job in jobs]


def wait_before(world, claim):
    """Seconds from the creation of the chunk to its claim."""
    created = "SELECT extract(epoch FROM created_at)::float8 FROM job_chunks WHERE id = %s"
    return claim.at - world.sql(created, claim.chunk)[0][0]


def test_without_its_broker_a_worker_works_and_uses_it_when_it_is_there(world, broker, request):
    if broker is None:
        pytest.skip("the filesystem broker has no server that could be away")
    request.getfixturevalue("worker")
    assert "work@" in crawl(world)[0].task_id
    request.getfixturevalue("connected_worker")


def test_a_notification_starts_an_idle_worker_at_once(world, connected_worker):
    claims = crawl(world, times=7)
    # The sweeper alone, which looks every second, would need half a second on average.
    assert median(wait_before(world, claim) for claim in claims) < 0.4
    assert not any("work@" in claim.task_id for claim in claims)


def test_a_lost_notification_costs_about_a_second(world, connected_worker):
    connected_to, world.broker = world.broker, f"redis://127.0.0.1:{free_port()}/0"
    try:
        claims = crawl(world, times=3)
    finally:
        world.broker = connected_to
    assert max(wait_before(world, claim) for claim in claims) < 3
    assert not any("work@" in claim.task_id for claim in claims)


NOTIFY = """
import time
from jobs.queue.worker import notify
for _ in range(3):
    began = time.monotonic()
    notify.notify()
    print(time.monotonic() - began)
    time.sleep(notify.BROKEN_SECONDS + 0.05)
"""


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_notifying_takes_half_a_second_at_most_when_the_broker_is_away_or_silent(world, scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urls = [f"{scheme}://127.0.0.1:{port}//" for port in (free_port(), silent.getsockname()[1])]
        senders = []
        for world.broker in urls:
            senders.append(world.python(NOTIFY))
        for sender in senders:
            seconds = [float(line) for line in sender.communicate(timeout=30)[0].split()]
            assert sender.returncode == 0
            # The first one also imports the broker's client library.
            assert len(seconds) == 3
            assert max(seconds[1:]) < 0.5


class Touch:
    """Unpickled, it makes a file: what a pickled message could do."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def task(body=b"[[], {}, {}]", content_type="application/json", **headers):
    """Headers, body and content type of a message for a task."""
    return {"id": str(uuid.uuid4()), "task": "jobs.work", **headers}, body, content_type


def odd_messages(trap):
    """What an attacker may send as a task."""
    return [
        task(task="no.such.task"),
        task(task=[]),
        task(task={"a": 1}),
        task(task=None),
        task(id=[]),
        task(id=None),
        task(eta="tomorrow"),
        task(eta=7),
        task(expires="x" * 1000),
        task(retries="many", timelimit="x", group=[], root_id={}),
        task(timelimit=[1]),
        task(argsrepr=7, kwargsrepr=[]),
        task(stamps=7, stamped_headers=9),
        task(body=b"not json"),
        task(body=b"\xff\xfe"),
        task(body=b"7"),
        task(body=b"[" * 100_000),
        task(body=b'[["a", "b", "c"], {"x": 1}, {}]'),
        task(body=b'[[], {}, {"chord": 7, "callbacks": 7, "errbacks": "x"}]'),
        task(body=b"x" * 20_000_000),
        task(body=pickle.dumps(Touch(trap)), content_type="application/x-python-serialize"),
        task(body=b"{}", content_type="application/x-yaml"),
        ({}, pickle.dumps(Touch(trap)), "application/x-python-serialize"),
        ({}, b'{"task": "jobs.work", "id": 7, "args": 7}', "application/json"),
        ({}, b'{"task": [], "id": "x"}', "application/json"),
        ({}, b"[1, 2]", "application/json"),
        ({}, b"", ""),
        ("text", b"[]", "application/json"),
        (None, b"[]", "application/json"),
    ]


def enveloped(message, **properties):
    """The message as kombu's Redis and filesystem transports write it."""
    headers, body, content_type = message
    return json.dumps(
        {
            "headers": headers,
            "body": base64.b64encode(body).decode(),
            "content-type": content_type,
            "content-encoding": "utf-8" if "json" in content_type else "binary",
            "properties": {
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
                "delivery_info": {"exchange": "", "routing_key": "celery"},
                "priority": 0,
                **properties,
            },
        }
    ).encode()


ODD_ENVELOPES = [
    b"not json",
    b"\xff\xfe\x00",
    b"[]",
    b"null",
    b"7",
    b"{}",
    b'{"properties": 7}',
    b'{"properties": {}}',
    b'{"body": 7, "properties": {"body_encoding": "base64", "delivery_tag": "x"}}',
    b"[" * 100_000,
    enveloped(task(), body_encoding="rot13"),
    enveloped(task(), delivery_tag=[]),
    enveloped(task(), delivery_info=7),
]


def send_over_redis(world, messages):
    client = redis.Redis(unix_socket_path=str(world.paths.sockets / SOCKET_NAME))
    client.hset("unacked", "x", "not json")
    client.zadd("unacked_index", {"x": 1})
    for envelope in [*ODD_ENVELOPES, *map(enveloped, messages)]:
        client.lpush("celery", envelope)
    for channel in ("/0.celery.pidbox", "/0.celeryev/worker.heartbeat"):
        for envelope in [*ODD_ENVELOPES, *map(enveloped, messages)]:
            client.publish(channel, envelope)
    return lambda: not client.llen("celery") and not client.hlen("unacked")


def send_over_rabbitmq(world, messages):
    with amqp.Connection(urlsplit(world.broker).netloc.rpartition("@")[2]) as connection:
        channel = connection.channel()
        for exchange, key in (("", "celery"), ("celery.pidbox", ""), ("celeryev", "worker.x")):
            for headers, body, content_type in messages:
                if isinstance(headers, dict):
                    more = {"application_headers": headers, "content_type": content_type}
                    message = amqp.Message(body, content_encoding="utf-8", **more)
                    channel.basic_publish(message, exchange=exchange, routing_key=key)
    return lambda: True


def send_over_folder(world, messages):
    for number, envelope in enumerate([*ODD_ENVELOPES, *map(enveloped, messages)]):
        name = f"{number}_odd.celery.msg"
        (world.home / "broker" / "queue" / name).write_bytes(envelope)
    return lambda: not list((world.home / "broker" / "queue").glob("*_odd.celery.msg"))


ASK = """
from pixsim.celery import app
print(len(app.control.ping(timeout=5)), app.control.pool_restart(modules=["antigravity"], reply=True,
    timeout=2), app.control.broadcast("pool_grow", arguments={"n": 99}, reply=True, timeout=1))
"""


@pytest.mark.long
def test_what_nobody_can_handle_is_dropped_and_the_worker_goes_on(
    world, connected_worker, request, broker
):
    send = {None: send_over_folder, world.redis: send_over_redis}.get(broker, send_over_rabbitmq)
    trap = world.home / "trap"
    is_done = send(world, odd_messages(trap))
    world.wait_until(is_done, seconds=30, what=f"the end of the messages\n{world.log()[-3000:]}")

    claims = crawl(world, times=3)

    assert not any("work@" in claim.task_id for claim in claims)
    assert connected_worker.poll() is None
    assert "Unrecoverable error" not in world.log()
    assert "dropped" in world.log()
    assert not trap.exists()
    asked = world.python(ASK).communicate(timeout=60)[0]
    assert asked.startswith("1 "), asked
    assert "'ok'" not in asked
