"""Each kind of drift is found and said; what means the same is none."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connections, transaction

from pixsim.schema import drift
from pixsim.schema.catalog import read_schema
from pixsim.schema.reference import Reference
from tests import databases
from tests.scratch import ALIAS, MIGRATED, Server, alias_of

PRIORITY = "CHECK (((priority >= 0) AND (priority <= 10)))"


@pytest.fixture(scope="module")
def expected(
    database_server: Server, database_template: str, _head: Reference
) -> Iterator[Reference]:
    """What our migrations make, beside one migrated database for all tests here."""
    with (
        databases.database(database_server, MIGRATED, template=database_template),
        alias_of(MIGRATED),
    ):
        yield _head


@pytest.fixture
def after(expected: Reference) -> Callable[[str], list[str]]:
    """The differences after some statements, which are taken back."""

    def run(statements: str) -> list[str]:
        with transaction.atomic(using=ALIAS):
            with connections[ALIAS].cursor() as cursor:
                cursor.execute(statements)
            found = drift.between(expected, read_schema(connections[ALIAS]))
            transaction.set_rollback(True, using=ALIAS)
        return [str(each) for each in found]

    return run


SEEDED = {
    "a table is missing": (
        "DROP TABLE usage_metrics",
        "table usage_metrics: expected a table of 14 columns, found nothing",
    ),
    "a table is unlogged": (
        "ALTER TABLE usage_metrics SET UNLOGGED",
        "table usage_metrics: expected a logged table, found an unlogged one, which a crash empties",
    ),
    "policies hide rows": (
        "ALTER TABLE images ENABLE ROW LEVEL SECURITY",
        "table images: expected no row level security, found row level security",
    ),
    "a column is missing": (
        "ALTER TABLE images DROP COLUMN label",
        "column images.label: expected character varying(100), not null, "
        "default ''::character varying, found nothing",
    ),
    "a column is extra": (
        "ALTER TABLE images ADD COLUMN colour text DEFAULT 'red'",
        "column images.colour: expected nothing, found text, null, default 'red'::text",
    ),
    "a column has another type": (
        "ALTER TABLE images ALTER COLUMN width TYPE bigint",
        "column images.width: expected integer, found bigint",
    ),
    "a column has another length": (
        "ALTER TABLE projects ALTER COLUMN name TYPE varchar(50)",
        "column projects.name: expected character varying(100), found character varying(50)",
    ),
    "a time lost its zone": (
        "ALTER TABLE projects ALTER COLUMN created_at TYPE timestamp",
        "column projects.created_at: expected timestamp with time zone, "
        "found timestamp without time zone",
    ),
    "a column may be null": (
        "ALTER TABLE projects ALTER COLUMN name DROP NOT NULL",
        "column projects.name: expected not null, found null",
    ),
    "a column may not be null": (
        "ALTER TABLE projects ALTER COLUMN description SET NOT NULL",
        "column projects.description: expected null, found not null",
    ),
    "a default is missing": (
        "ALTER TABLE job_chunks ALTER COLUMN priority DROP DEFAULT",
        "column job_chunks.priority: expected default 5, found no default",
    ),
    "a default is another": (
        "ALTER TABLE job_chunks ALTER COLUMN priority SET DEFAULT 6",
        "column job_chunks.priority: expected default 5, found default 6",
    ),
    "a default is extra": (
        "ALTER TABLE projects ALTER COLUMN name SET DEFAULT ''",
        "column projects.name: expected no default, found default ''::character varying",
    ),
    "a default is the time of the statement": (
        "ALTER TABLE projects ALTER COLUMN created_at SET DEFAULT statement_timestamp()",
        "column projects.created_at: expected default now(), found default statement_timestamp()",
    ),
    "a column has another collation": (
        'ALTER TABLE projects ALTER COLUMN description TYPE text COLLATE "C"',
        "column projects.description: expected text, found text collate C",
    ),
    "a column is generated": (
        "ALTER TABLE images DROP COLUMN width; "
        "ALTER TABLE images ADD COLUMN width int GENERATED ALWAYS AS (height * 2) STORED",
        "column images.width: expected no default, found generated as (height * 2)",
    ),
    "a key does not count": (
        "ALTER TABLE projects ALTER COLUMN id DROP IDENTITY",
        "column projects.id: expected a counter, found no default",
    ),
    "a key refuses values": (
        "ALTER TABLE projects ALTER COLUMN id SET GENERATED ALWAYS",
        "column projects.id: expected a counter, found generated always as identity",
    ),
    "a key counts in twos": (
        "ALTER TABLE projects ALTER COLUMN id SET INCREMENT 2",
        "column projects.id: expected a sequence of integer by 1 from 1 to 2147483647, "
        "found a sequence of integer by 2 from 1 to 2147483647",
    ),
    "a key begins again": (
        "ALTER TABLE projects ALTER COLUMN id SET CYCLE",
        "column projects.id: expected a sequence of integer by 1 from 1 to 2147483647, "
        "found a sequence of integer by 1 from 1 to 2147483647, cycling",
    ),
    "a sequence is missing": (
        "DROP SEQUENCE work_lease_id_seq",
        "sequence work_lease_id_seq: expected a sequence of bigint by 1 from 1 to "
        "9223372036854775807, found nothing",
    ),
    "a primary key is missing": (
        "ALTER TABLE candidates DROP CONSTRAINT candidates_pkey",
        "constraint candidates_pkey of candidates: expected PRIMARY KEY (id), found nothing",
    ),
    "a unique constraint is missing": (
        "ALTER TABLE job_chunks DROP CONSTRAINT uq_job_chunks_job_index",
        "constraint uq_job_chunks_job_index of job_chunks: expected UNIQUE (job_id, chunk_index), "
        "found nothing",
    ),
    "a unique constraint is deferred": (
        "ALTER TABLE job_chunks DROP CONSTRAINT uq_job_chunks_job_index, ADD CONSTRAINT "
        "uq_job_chunks_job_index UNIQUE (job_id, chunk_index) DEFERRABLE",
        "constraint uq_job_chunks_job_index of job_chunks: expected UNIQUE (job_id, chunk_index), "
        "found UNIQUE (job_id, chunk_index) DEFERRABLE",
    ),
    "a check is missing": (
        "ALTER TABLE job_chunks DROP CONSTRAINT ck_job_chunks_priority_range",
        f"constraint ck_job_chunks_priority_range of job_chunks: expected {PRIORITY}, "
        "found nothing",
    ),
    "a check is looser": (
        "ALTER TABLE job_chunks DROP CONSTRAINT ck_job_chunks_priority_range, ADD CONSTRAINT "
        "ck_job_chunks_priority_range CHECK (priority >= 0 AND priority <= 11)",
        f"constraint ck_job_chunks_priority_range of job_chunks: expected {PRIORITY}, "
        "found CHECK (((priority >= 0) AND (priority <= 11)))",
    ),
    "a check knows another word": (
        "ALTER TABLE profiles DROP CONSTRAINT ck_profiles_user_tier_valid, ADD CONSTRAINT "
        "ck_profiles_user_tier_valid CHECK (user_tier IN ('FREE', 'PRO', 'GOLD'))",
        "'GOLD'",
    ),
    "a check is extra": (
        "ALTER TABLE images ADD CONSTRAINT wide CHECK (width > 10)",
        "constraint wide of images: expected nothing, found CHECK ((width > 10))",
    ),
    "a check is not validated": (
        "ALTER TABLE job_chunks DROP CONSTRAINT ck_job_chunks_priority_range, ADD CONSTRAINT "
        "ck_job_chunks_priority_range CHECK (priority >= 0 AND priority <= 10) NOT VALID",
        f"constraint ck_job_chunks_priority_range of job_chunks: expected {PRIORITY}, "
        f"found {PRIORITY} (not validated)",
    ),
    "a constraint has another name": (
        "ALTER TABLE job_chunks RENAME CONSTRAINT ck_job_chunks_priority_range TO other",
        "constraint ck_job_chunks_priority_range of job_chunks: expected the name "
        "ck_job_chunks_priority_range, found the name other",
    ),
    "a foreign key is missing": (
        "ALTER TABLE job_chunks DROP CONSTRAINT job_chunks_job_id_fkey",
        "constraint job_chunks_job_id_fkey of job_chunks: expected FOREIGN KEY (job_id) REFERENCES "
        "crawl_jobs(id) ON DELETE CASCADE, found nothing",
    ),
    "a foreign key does not cascade": (
        "ALTER TABLE job_chunks DROP CONSTRAINT job_chunks_job_id_fkey, ADD CONSTRAINT "
        "job_chunks_job_id_fkey FOREIGN KEY (job_id) REFERENCES crawl_jobs",
        "constraint job_chunks_job_id_fkey of job_chunks: expected FOREIGN KEY (job_id) REFERENCES "
        "crawl_jobs(id) ON DELETE CASCADE, found FOREIGN KEY (job_id) REFERENCES crawl_jobs(id)",
    ),
    "a foreign key is not validated": (
        "ALTER TABLE images DROP CONSTRAINT images_chunk_id_fkey, ADD CONSTRAINT "
        "images_chunk_id_fkey FOREIGN KEY (chunk_id) REFERENCES job_chunks ON DELETE SET NULL "
        "NOT VALID",
        "constraint images_chunk_id_fkey of images: expected FOREIGN KEY (chunk_id) REFERENCES "
        "job_chunks(id) ON DELETE SET NULL, found FOREIGN KEY (chunk_id) REFERENCES "
        "job_chunks(id) ON DELETE SET NULL (not validated)",
    ),
    "an index is missing": (
        "DROP INDEX ix_job_chunks_status",
        "index ix_job_chunks_status of job_chunks: expected USING btree (status), found nothing",
    ),
    "an index is extra": (
        "CREATE INDEX handmade ON images (width)",
        "index handmade of images: expected nothing, found USING btree (width)",
    ),
    "an index has other columns": (
        "DROP INDEX ix_job_chunks_job_status; "
        "CREATE INDEX ix_job_chunks_job_status ON job_chunks (status, job_id)",
        "index ix_job_chunks_job_status of job_chunks: expected USING btree (job_id, status), "
        "found USING btree (status, job_id)",
    ),
    "an index has another order": (
        "DROP INDEX ix_job_chunks_claim; CREATE INDEX ix_job_chunks_claim ON job_chunks "
        "(priority, ready_at, id) WHERE status = 'pending' AND ready_at IS NOT NULL",
        "index ix_job_chunks_claim of job_chunks: expected USING btree (priority DESC, ready_at, id)",
    ),
    "an index has another condition": (
        "DROP INDEX ix_notifications_user_unread; CREATE INDEX ix_notifications_user_unread "
        "ON notifications (user_id, is_read) WHERE is_read",
        "WHERE (is_read = false), found USING btree (user_id, is_read) WHERE is_read",
    ),
    "an index lost its condition": (
        "DROP INDEX ix_candidates_open; CREATE INDEX ix_candidates_open ON candidates (job_id, id)",
        "index ix_candidates_open of candidates: expected USING btree (job_id, id) WHERE ",
    ),
    "an index has another expression": (
        "DROP INDEX ix_images_phash_band_0; "
        "CREATE INDEX ix_images_phash_band_0 ON images ((phash >> 48))",
        "found USING btree (((phash >> 48)))",
    ),
    "an index has another method": (
        "DROP INDEX ix_images_sha256; CREATE INDEX ix_images_sha256 ON images USING hash (sha256)",
        "index ix_images_sha256 of images: expected USING btree (sha256), found USING hash (sha256)",
    ),
    "an index has another operator class": (
        "DROP INDEX ix_images_sha256; "
        "CREATE INDEX ix_images_sha256 ON images (sha256 varchar_pattern_ops)",
        "index ix_images_sha256 of images: expected USING btree (sha256), "
        "found USING btree (sha256 varchar_pattern_ops)",
    ),
    "an index is unique": (
        "DROP INDEX ix_images_sha256; CREATE UNIQUE INDEX ix_images_sha256 ON images (sha256)",
        "index ix_images_sha256 of images: expected USING btree (sha256), "
        "found unique USING btree (sha256)",
    ),
    "an index has another name": (
        "ALTER INDEX ix_images_sha256 RENAME TO other",
        "index ix_images_sha256 of images: expected the name ix_images_sha256, found the name other",
    ),
    "an index is invalid": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_images_sha256'::regclass",
        "index ix_images_sha256 of images: expected USING btree (sha256), "
        "found USING btree (sha256) (invalid: building it was interrupted)",
    ),
    "a trigger is extra": (
        "CREATE TRIGGER stop BEFORE UPDATE ON images FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "trigger stop of images: expected nothing, found CREATE TRIGGER stop BEFORE UPDATE ON "
        "images FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    "a rule changes what is written": (
        "CREATE RULE quiet AS ON DELETE TO images DO INSTEAD NOTHING",
        "rule quiet of images: expected nothing, found CREATE RULE quiet AS ON DELETE TO images DO "
        "INSTEAD NOTHING;",
    ),
    "a policy hides rows once row security is on": (
        "CREATE POLICY few ON images FOR SELECT USING (width > 10)",
        "policy few of images: expected nothing, found PERMISSIVE FOR SELECT TO PUBLIC USING "
        "((width > 10))",
    ),
    "autovacuum is as by default": (
        "ALTER TABLE job_chunks RESET (autovacuum_vacuum_scale_factor)",
        "storage parameter autovacuum_vacuum_scale_factor of job_chunks: expected 0.01, "
        "found nothing",
    ),
    "autovacuum is off": (
        "ALTER TABLE images SET (autovacuum_enabled = false)",
        "storage parameter autovacuum_enabled of images: expected nothing, found false",
    ),
}


@pytest.mark.parametrize("kind", SEEDED)
def test_drift_is_found_and_said(after, kind):
    statements, sentence = SEEDED[kind]
    found = after(statements)
    assert any(sentence in each and "expected " in each and "found " in each for each in found), (
        found
    )


SAME = {
    "a fresh database": "SELECT",
    "a check in other words": (
        "ALTER TABLE profiles DROP CONSTRAINT ck_profiles_user_tier_valid, ADD CONSTRAINT "
        "ck_profiles_user_tier_valid CHECK (user_tier::text = ANY (ARRAY['FREE'::character varying,"
        " 'PRO'::character varying, 'ENTERPRISE'::character varying]::text[]))"
    ),
    "a check of values in another order": (
        "ALTER TABLE profiles DROP CONSTRAINT ck_profiles_user_tier_valid, ADD CONSTRAINT "
        "ck_profiles_user_tier_valid CHECK (user_tier IN ('PRO', 'FREE', 'ENTERPRISE'))"
    ),
    "a range in other words": (
        "ALTER TABLE job_chunks DROP CONSTRAINT ck_job_chunks_priority_range, ADD CONSTRAINT "
        "ck_job_chunks_priority_range CHECK (10 >= priority AND priority BETWEEN 0 AND 10)"
    ),
    "a condition of an index in other words": (
        "DROP INDEX ix_job_chunks_claim; CREATE INDEX ix_job_chunks_claim ON job_chunks "
        "(priority DESC, ready_at, id) WHERE ready_at IS NOT NULL AND status::text = 'pending'"
    ),
    "a default in other words": (
        "ALTER TABLE job_chunks ALTER COLUMN priority SET DEFAULT '5'::smallint; "
        "ALTER TABLE projects ALTER COLUMN created_at SET DEFAULT CURRENT_TIMESTAMP"
    ),
    "a serial instead of an identity": (
        "ALTER TABLE projects ALTER COLUMN id DROP IDENTITY; CREATE SEQUENCE other AS integer "
        "OWNED BY projects.id; ALTER TABLE projects ALTER COLUMN id SET DEFAULT nextval('other')"
    ),
    "a sequence with room to spare": (
        "ALTER TABLE projects ALTER COLUMN id DROP IDENTITY; CREATE SEQUENCE other; "
        "ALTER TABLE projects ALTER COLUMN id SET DEFAULT nextval('other')"
    ),
    "columns in another order": (
        "ALTER TABLE images DROP COLUMN width; ALTER TABLE images ADD COLUMN width integer"
    ),
    "tables that are not ours": "CREATE TABLE visitors (id int); CREATE SEQUENCE theirs",
    "views and functions that are not ours": (
        "CREATE VIEW wide AS SELECT id FROM images; CREATE MATERIALIZED VIEW kept AS SELECT 1; "
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ),
    "a cluster key, comments and statistics": (
        "COMMENT ON TABLE images IS 'x'; ALTER TABLE images CLUSTER ON ix_images_sha256; "
        "ALTER TABLE images ALTER COLUMN width SET STATISTICS 500"
    ),
}


@pytest.mark.parametrize("way", SAME)
def test_what_means_the_same_is_no_drift(after, way):
    assert after(SAME[way]) == []


def test_tables_that_no_migration_made_are_named_apart(expected):
    with transaction.atomic(using=ALIAS):
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("CREATE TABLE visitors (id int)")
        found = read_schema(connections[ALIAS])
        transaction.set_rollback(True, using=ALIAS)
    assert drift.unknown_tables(expected.schema, found) == ["visitors"]
