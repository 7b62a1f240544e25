"""Work that does nothing, for real workers: rows added by SQL, and a record of every claim."""

import itertools
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from tests.world import World

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.jobs.noop_settings"}
"""For the environment of a World, beside NOOP_SECONDS: how long a chunk takes."""

# Written in the transaction of the claim, so no claim is missed and none is counted twice.
RECORD_CLAIMS = """
CREATE TABLE claims (
    place bigserial PRIMARY KEY, chunk_id int, job_id int, owner_id uuid, priority int, task_id text,
    claimed_at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION record_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO claims (chunk_id, job_id, owner_id, priority, task_id)
    VALUES (NEW.id, NEW.job_id, NEW.owner_id, NEW.priority, NEW.task_id);
    RETURN NULL;
END $$;
CREATE TRIGGER record_claim AFTER UPDATE ON job_chunks FOR EACH ROW
    WHEN (OLD.status = 'pending' AND NEW.status = 'processing') EXECUTE FUNCTION record_claim();
"""

_names = itertools.count()


@dataclass(frozen=True)
class Claim:
    place: int
    chunk: int
    owner: UUID | None
    priority: int
    task_id: str
    at: float
    """By the database's clock, seconds since 1970."""


def record_claims(world: World) -> None:
    world.sql(RECORD_CLAIMS)


def new_owner(world: World, tier: str) -> UUID:
    name = f"owner-{next(_names)}@example.org"
    insert = "INSERT INTO profiles (email, user_tier) VALUES (%s, %s) RETURNING id"
    return world.sql(insert, name, tier)[0][0]


def new_job(
    world: World, owner: UUID | None = None, *, status: str = "running", max_images: int = 1000
) -> int:
    """A job without sources or chunks."""
    [(project,)] = world.sql(
        "INSERT INTO projects (name, status, user_id) VALUES ('Backlog', 'active', %s) RETURNING id",
        owner,
    )
    [(job,)] = world.sql(
        """INSERT INTO crawl_jobs (project_id, name, keywords, max_images, status, progress,
               total_images, downloaded_images, valid_images, total_chunks, active_chunks,
               completed_chunks, failed_chunks, task_ids)
           VALUES (%s, 'backlog', '[]', %s, %s, 0, 0, 0, 0, 0, 0, 0, 0, '[]') RETURNING id""",
        project,
        max_images,
        status,
    )
    return job


def add_chunks(
    world: World, job: int, priorities: list[int], *, admitted: bool = False
) -> list[int]:
    """One chunk per priority, all in one statement; their ids, in this order.

    With nothing but the columns that the older system documents, unless they are `admitted` as
    system work is by the application.
    """
    # Each is a microsecond younger than the one before.
    insert = """
        INSERT INTO job_chunks (job_id, chunk_index, status, priority, image_range, retry_count,
                                created_at, ready_at)
        SELECT %(job)s, taken + place, 'pending', priority,
            jsonb_build_object('start', (taken + place) * 10, 'end', (taken + place) * 10 + 10), 0,
            at, CASE WHEN %(admitted)s THEN at END
        FROM (SELECT count(*)::int AS taken FROM job_chunks WHERE job_id = %(job)s) counted,
            unnest(%(priorities)s::int[]) WITH ORDINALITY AS asked (priority, place),
            LATERAL (SELECT now() + place * interval '1 microsecond' AS at) AS ages
        RETURNING id"""
    params = {"job": job, "priorities": priorities, "admitted": admitted}
    with psycopg.connect(world.database_url) as connection:
        ids = [row[0] for row in connection.execute(insert, params)]
        connection.execute(
            "UPDATE crawl_jobs SET total_chunks = total_chunks + %(count)s,"
            " active_chunks = active_chunks + %(count)s WHERE id = %(job)s",
            {"job": job, "count": len(ids)},
        )
    return ids


def claims_of(world: World, *jobs: int) -> list[Claim]:
    """The claims of these jobs' chunks, in their order."""
    rows = world.sql(
        "SELECT place, chunk_id, owner_id, priority, task_id,"
        " extract(epoch FROM claimed_at)::float8"
        " FROM claims WHERE job_id = ANY(%s) ORDER BY place",
        list(jobs),
    )
    return [Claim(*row) for row in rows]


def all_completed(world: World, *jobs: int) -> bool:
    unfinished = "SELECT 1 FROM job_chunks WHERE job_id = ANY(%s) AND status <> 'completed' LIMIT 1"
    return not world.sql(unfinished, list(jobs))


class Occupancy:
    """Watches, while used as a context manager, how many items each owner has ready or processing."""

    QUERY = """SELECT owner_id, count(*) FROM job_chunks
        WHERE ready_at IS NOT NULL AND owner_id IS NOT NULL GROUP BY owner_id"""

    def __init__(self, world: World) -> None:
        self._url = world.database_url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.samples: list[tuple[float, dict[UUID, int]]] = []

    def __enter__(self) -> "Occupancy":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._stop.set()
        self._thread.join()

    def of(self, owner: UUID, *, since: float = 0.0) -> list[int]:
        """What was seen of an owner, from `time.monotonic()` = `since` on."""
        return [counts.get(owner, 0) for at, counts in self.samples if at >= since]

    def _watch(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(0.004):
                rows = connection.execute(self.QUERY).fetchall()
                self.samples.append((time.monotonic(), dict(rows)))
