"""Proof that only the queue's statements change the queue's columns.

A trigger on each work table of the tests' database refuses every other change of them. Tests of
edits by hand lift it with `edits_by_hand()`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

TABLES = ("job_chunks", "crawl_sources", "jobs")
COLUMNS = (
    *("ready_at", "held", "available_at", "lease_id", "lease_expires_at"),
    *("status", "priority"),
)
BY_HAND = "pixsim.edits_by_hand"

_CHANGED = " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in COLUMNS)

# The body names columns as text only, so a migration can still drop one.
FUNCTION = f"""
CREATE OR REPLACE FUNCTION refuse_untagged_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF ({_CHANGED})
       AND position('/* queue:' IN current_query()) = 0
       AND current_setting('{BY_HAND}', TRUE) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'Only jobs/queue/sql.py changes the queue''s columns of %: %',
            TG_TABLE_NAME, left(current_query(), 300);
    END IF;
    RETURN NEW;
END $$;
"""
TRIGGERS = "".join(
    f"CREATE TRIGGER only_the_queue BEFORE UPDATE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION refuse_untagged_change();"
    for table in TABLES
)
INSTALL = FUNCTION + TRIGGERS


@contextmanager
def edits_by_hand() -> Iterator[None]:
    """Allow statements of Django's connection to change work rows, as a person's SQL may."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET {BY_HAND} = 'on'")
    try:
        yield
    finally:
        if not connection.needs_rollback and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute(f"RESET {BY_HAND}")
