"""A broker that answers with an error is away, like one that does not answer: workers go on.

What a failover, a full memory, a failed snapshot or a lost permission does, on a real Redis; a queue
that somebody else declared or deleted, on a real RabbitMQ; and a folder that is removed.
"""

import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import amqp
import pytest

from tests.broker_faults import connect, forbidden, full, heal, replica, without_replicas
from tests.crawler.pictures import jpeg
from tests.jobs.test_brokers import RABBITMQ, RabbitBroker
from tests.site import Site
from tests.world import World, has_redis

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine"),
]


def answer(path, times):
    if path == "/robots.txt":
        return 404, "text/plain", b""
    return 200, "image/jpeg", jpeg(96, 72, seed=int(path[1:-4]))


@pytest.fixture(scope="module")
def world():
    with Site(answer) as site, World() as world:
        (world.home / "list.txt").write_text("\n".join(f"{site.url}/{n}.jpg" for n in range(8)))
        yield world


@pytest.fixture
def server(world):
    client = connect(world)
    yield client
    heal(client)


FAULTS = [replica, full, without_replicas, forbidden]


@pytest.fixture
def start(world):
    """Start a worker that is killed when the test ends; return it."""
    started = []

    def start_worker():
        (world.home / "worker.log").write_text("")
        started.append(world.start_worker("--loglevel", "INFO", concurrency=1))
        return started[-1]

    yield start_worker
    for worker in started:
        world.kill(worker)


def crawl(world):
    """Crawl a list of four pictures to its end."""
    listed = str(world.home / "list.txt")
    job = world.crawl("--source", "urls", "--from", listed, "--max-images", "4")
    done = "SELECT status, valid_images FROM crawl_jobs WHERE id = %s"
    world.wait_until(
        lambda: world.sql(done, job) == [("completed", 4)], seconds=30, what="the crawl"
    )


def says(world, text, times=1):
    world.wait_until(lambda: world.log().count(text) == times, seconds=30, what=text)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_goes_on_while_its_broker_answers_with_errors(world, server, start, fault):
    worker = start()
    says(world, "ready.")

    fault(server)
    crawl(world)
    says(world, "The broker is away")
    heal(server)
    world.wait_until(
        lambda: crawl(world) or "The broker is back" in world.log(), seconds=30, what="its return"
    )

    assert worker.poll() is None
    assert world.log().count("The broker is away") == 1
    assert "received" in world.log()  # a message
    assert "Traceback" not in world.log()


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_starts_while_its_broker_answers_with_errors(world, server, start, fault):
    fault(server)
    worker = start()
    crawl(world)
    heal(server)
    says(world, "The broker is back")

    assert worker.poll() is None
    assert world.log().count("The broker is away") == 1


def test_a_worker_that_waits_for_its_broker_stops_when_it_is_told_to(world, server, start):
    replica(server)
    worker = start()
    says(world, "The broker is away")

    worker.terminate()

    assert worker.wait(timeout=20) == 0


@pytest.fixture
def other_world(world):
    """The world with a broker of another kind, as the test sets it."""
    yield world
    world.broker = "redis"


@pytest.mark.long
def test_a_worker_goes_on_when_its_folder_of_messages_is_removed(other_world, start):
    other_world.broker = "filesystem"
    worker = start()
    says(other_world, "ready.")

    shutil.rmtree(other_world.home / "broker")
    says(other_world, "The broker is away")
    crawl(other_world)  # the command makes the folder anew
    says(other_world, "The broker is back")

    assert worker.poll() is None


@pytest.mark.long
@pytest.mark.skipif(
    not (RABBITMQ.exists() and shutil.which("epmd")), reason="no rabbitmq-server on this machine"
)
def test_a_worker_goes_on_when_the_queue_is_another_one_or_deleted(other_world, start):
    broker = RabbitBroker()
    try:
        broker.start()
        other_world.broker = broker.url
        with channel(broker) as rabbit:
            rabbit.queue_declare("celery", durable=False, auto_delete=False)
        worker = start()
        crawl(other_world)
        says(other_world, "The broker is away")
        with channel(broker) as rabbit:
            rabbit.queue_delete("celery")
        says(other_world, "The broker is back")
        with channel(broker) as rabbit:
            rabbit.queue_delete("celery")
        says(other_world, "The broker is away", times=2)
        says(other_world, "The broker is back", times=2)
        assert worker.poll() is None
    finally:
        broker.remove()


@contextmanager
def channel(broker):
    with amqp.Connection(urlsplit(broker.url).netloc.rpartition("@")[2]) as connection:
        yield connection.channel()
