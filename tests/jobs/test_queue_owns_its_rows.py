"""Nothing but the queue's statements changes the queue's columns of a work row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import ProgrammingError, connection, transaction

from crawler.models import JobChunk
from jobs.queue import api, sql
from jobs.queue.kinds import all_kinds
from tests.queue_guard import COLUMNS, TABLES, edits_by_hand

PROJECT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "crawler", "jobs", "providers", "pixsim", "demo")
ONLY_THE_QUEUES = set(COLUMNS) - {"status", "priority"}
"""No other table has these columns."""
WRITES = re.compile(
    rf"(?:UPDATE|INTO)\s+(?:{'|'.join(TABLES)})\b(?:(?!\bWHERE\b|\bUPDATE\b|\bINSERT\b).)*?"
    rf"\b(?:{'|'.join(COLUMNS)})\b",
    re.DOTALL,
)


def sources() -> Iterator[Path]:
    for app in APPS:
        for path in sorted((PROJECT / app).rglob("*.py")):
            inside = path.relative_to(PROJECT).as_posix()
            # Adoption and migrations change rows of a database on which no worker runs.
            exempt = inside.startswith(("jobs/queue/", "pixsim/adoption/"))
            if not exempt and "/migrations/" not in inside:
                yield path


def names_written(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each attribute that is set, and of each argument of a call that writes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("update", "create", "get_or_create", "update_or_create"):
                yield from ((node.lineno, word.arg) for word in node.keywords if word.arg)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_no_other_file_writes_these_columns(path):
    text = path.read_text()
    found = [
        f"{path.name}:{line} sets {name}"
        for line, name in names_written(ast.parse(text))
        if name in ONLY_THE_QUEUES
    ]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [f"{path.name}:{node.lineno} {each}" for each in WRITES.findall(node.value)]
    assert not found


def test_the_guard_knows_every_work_table():
    assert set(TABLES) == {kind.table for kind in all_kinds()}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed"}, {"priority": 9}, {"held": True}, {"ready_at": "2026-01-01T00:00Z"},
        {"available_at": "2026-01-01T00:00Z"}, {"lease_id": 7},
        {"lease_expires_at": "2026-01-01T00:00Z"},
    ],
)  # fmt: skip
def test_a_change_without_the_queues_tag_is_refused_unless_it_is_an_edit_by_hand(
    make_job, make_chunks, change
):
    chunks = JobChunk.objects.filter(pk__in=make_chunks(make_job(), 1))
    with pytest.raises(ProgrammingError, match=r"Only jobs/queue/sql\.py"), transaction.atomic():
        chunks.update(**change)
    with edits_by_hand():
        assert chunks.update(**change) == 1


@pytest.mark.django_db
def test_tags_are_part_of_prepared_statements(kind, make_job, make_chunks):
    make_chunks(make_job(), 20)
    with edits_by_hand():
        JobChunk.objects.update(ready_at="2026-01-01T00:00Z")
    for _ in range(4):
        [work] = api.claim(kind, limit=1, task_id="t")
        api.complete([work])
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [row[0] for row in cursor.fetchall()]
    assert any(text.startswith("/* queue:claim */") for text in prepared)
    assert kind.sql(sql.CLAIM).startswith("/* queue:claim */")
