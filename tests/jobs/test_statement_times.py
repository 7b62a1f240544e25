"""Index use with the time of each statement, on a server that counts statements."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixsim.embedded import postgres
from tests.crawler.pictures import jpeg
from tests.world import World

EXTENSION = "pg_stat_statements"
SERVERS = sorted(Path("/usr/lib/postgresql").glob(f"*/lib/{EXTENSION}.so"))

pytestmark = [
    pytest.mark.long,
    pytest.mark.workers,
    pytest.mark.skipif(not SERVERS, reason=f"no installed PostgreSQL has {EXTENSION}"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """An installation with an empty database on a server that has the extension."""
    binaries = SERVERS[-1].parents[1] / "bin"
    version = binaries.parent.name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "find_binaries", lambda: (binaries, version))
        patch.setitem(postgres.CONFIGURATION, "shared_preload_libraries", EXTENSION)
        world = World(broker="filesystem")
        try:
            world.postgres.start()
            world.manage("migrate", "--verbosity=0")
            yield world
        finally:
            world.__exit__()


def statements(world: World) -> dict[str, dict[str, float]] | None:
    told = json.loads(world.manage("queue", "status", "--json", "--kind", "chunk").stdout)
    found = told["kinds"]["chunk"]["statements"]
    return None if found is None else {one["name"]: one for one in found}


def test_the_statements_of_the_queue_are_listed_with_their_time(world: World) -> None:
    assert statements(world) is None
    assert "Statements" not in world.manage("queue", "status").stdout

    world.sql(f"CREATE EXTENSION {EXTENSION}")
    pictures = world.home / "pictures"
    pictures.mkdir()
    (pictures / "one.jpg").write_bytes(jpeg(96, 64))
    world.crawl("--source=folder", f"--from={pictures}", "--max-images=1")
    world.manage("queue", "work", "--until-idle")

    found = statements(world)
    assert found is not None
    assert found["queue:claim"]["calls"] > 0
    assert found["queue:claim"]["seconds"] > 0
    assert found["queue:complete"]["rows"] > 0
    assert "queue:claim" in world.manage("queue", "status").stdout


def test_a_view_that_cannot_be_read_is_no_reason_to_fail(world: World) -> None:
    world.sql(f"DROP EXTENSION IF EXISTS {EXTENSION}")
    world.sql(f"CREATE VIEW {EXTENSION} AS SELECT 1 AS odd")
    assert statements(world) is None
