"""What blocks a table or breaks running code is found, with the safe way; what does not is left."""

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    ValidateConstraint,
)
from django.db import connection, models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    DeleteModel,
    Migration,
    RemoveField,
    RemoveIndex,
    RenameField,
    RenameModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django_pg_migration_tools.operations import (
    SaferAddCheckConstraint,
    SaferAddIndexConcurrently,
    SaferAddUniqueConstraint,
    SaferAlterFieldSetNotNull,
)

from pixsim.core.db.operations import AddForeignKey
from pixsim.schema.destructive_changes import walk
from pixsim.schema.unsafe import review

POSITIVE = models.CheckConstraint(condition=models.Q(pages__gt=0), name="pages_positive")
INDEX = models.Index(fields=["title"], name="ix_title")
UNIQUE = models.UniqueConstraint(fields=["title"], name="uq_title")


def found(*operations):
    """(kind, table) of what is found in a migration of the app `shop`, which has shelves and
    books."""
    state = ProjectState()
    before = [
        CreateModel("Shelf", [("id", models.AutoField(primary_key=True))]),
        CreateModel(
            "Book",
            [
                ("id", models.AutoField(primary_key=True)),
                ("title", models.CharField(max_length=50, null=True)),
                ("pages", models.IntegerField(null=True)),
            ],
            options={"db_table": "books"},
        ),
    ]
    for operation in before:
        operation.state_forwards("shop", state)
    migration = Migration("0002_change", "shop")
    migration.operations = list(operations)
    return review(migration, state, connection)


BLOCKS = {
    "an index": ([AddIndex("book", INDEX)], "SaferAddIndexConcurrently"),
    "an index of a column": (
        [AlterField("book", "pages", models.IntegerField(null=True, db_index=True))],
        "SaferAddIndexConcurrently",
    ),
    "a unique constraint": ([AddConstraint("book", UNIQUE)], "SaferAddUniqueConstraint"),
    "a check": ([AddConstraint("book", POSITIVE)], "AddConstraintNotValid"),
    "a foreign key": (
        [
            AddField(
                "book",
                "shelf",
                models.ForeignKey("shop.Shelf", models.CASCADE, null=True, db_index=False),
            )
        ],
        "AddForeignKey",
    ),
    "another type": (
        [AlterField("book", "pages", models.BigIntegerField(null=True))],
        "add a column of the new type",
    ),
    "a shorter text": (
        [AlterField("book", "title", models.CharField(max_length=20, null=True))],
        "add a column of the new type",
    ),
    "not null": (
        [RunSQL("ALTER TABLE books ALTER COLUMN pages SET NOT NULL")],
        "SaferAlterFieldSetNotNull",
    ),
    "a value for each row": (
        [AddField("book", "key", models.UUIDField(db_default=RandomUUID()))],
        "add the column null",
    ),
    "a generated column": (
        [
            AddField(
                "book",
                "twice",
                models.GeneratedField(
                    expression=models.F("pages") * 2,
                    output_field=models.IntegerField(),
                    db_persist=True,
                ),
            )
        ],
        "add the column null",
    ),
    "a unique column": (
        [AddField("book", "isbn", models.IntegerField(null=True, unique=True))],
        "SaferAddUniqueConstraint",
    ),
    "a column with a check": (
        [AddField("book", "year", models.PositiveIntegerField(null=True))],
        "IntegerField",
    ),
    "rows changed at once": ([RunSQL("UPDATE books SET pages = 1")], "small ranges of keys"),
    "rows deleted at once": ([RunSQL("SELECT 1; DELETE FROM books")], "small ranges of keys"),
    "raw SQL": ([RunSQL('create unique index on only "books" (title)')], "SaferAddIndex"),
    "several changes in one": (
        [RunSQL("ALTER TABLE books ADD COLUMN x int, ALTER COLUMN pages SET NOT NULL")],
        "SaferAlterFieldSetNotNull",
    ),
    "a rewrite": ([RunSQL("VACUUM FULL books")], "maintenance window"),
    "a table that moves": ([RunSQL("ALTER TABLE books SET UNLOGGED")], "maintenance window"),
    "hidden in another": (
        [SeparateDatabaseAndState([AddIndex("book", INDEX)], [])],
        "SaferAddIndexConcurrently",
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_what_blocks_a_table_is_found_with_the_safe_way(name):
    operations, rewrite = BLOCKS[name]
    blocking = [each for each in found(*operations) if each.kind == "blocks"]
    assert [each.table for each in blocking] == ["books"]
    assert rewrite in blocking[0].rewrite
    assert "nobody" in blocking[0].why
    assert operations[0].describe() == blocking[0].operation


BREAKS = {
    "a renamed model": [RenameModel("Shelf", "Rack")],
    "a renamed column": [RenameField("book", "pages", "leaves")],
    "a removed column": [RemoveField("book", "pages")],
    "a removed table": [DeleteModel("Shelf")],
    "a value that old code does not give": [
        AddField("book", "year", models.IntegerField(default=0))
    ],
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_running_code_is_found(name):
    (finding,) = found(*BREAKS[name])
    assert finding.kind == "breaks"
    assert finding.table in ("books", "shop_shelf")
    assert "code that still runs" in finding.why


LINTER = {
    "RENAME_TABLE": ("ALTER TABLE books RENAME TO volumes", "breaks"),
    "RENAME_COLUMN": ("ALTER TABLE books RENAME COLUMN pages TO leaves", "breaks"),
    "DROP_TABLE": ("DROP TABLE IF EXISTS books", "breaks"),
    "DROP_COLUMN": ('ALTER TABLE "books" DROP COLUMN "pages" CASCADE', "breaks"),
    "NOT_NULL, a new column": ("ALTER TABLE books ADD COLUMN x int NOT NULL", "breaks"),
    "NOT_NULL, whose default goes again": (
        "ALTER TABLE books ADD COLUMN x int DEFAULT 1 NOT NULL; "
        "ALTER TABLE books ALTER COLUMN x DROP DEFAULT",
        "breaks",
    ),
    "NOT_NULL, an old column": ("ALTER TABLE books ALTER COLUMN pages SET NOT NULL", "breaks"),
    "ALTER_COLUMN": ("ALTER TABLE books ALTER COLUMN pages TYPE bigint", "blocks"),
    "ADD_UNIQUE": ("ALTER TABLE books ADD CONSTRAINT u UNIQUE (title)", "blocks"),
    "ADD_UNIQUE, an index": ("CREATE UNIQUE INDEX u ON books (title)", "blocks"),
    "CREATE_INDEX": ("CREATE INDEX i ON books (title)", "blocks"),
    "DROP_INDEX": ("DROP INDEX ix_title", "blocks"),
    "REINDEX": ("REINDEX INDEX ix_title", "blocks"),
    "REINDEX, a table": ("REINDEX TABLE books", "blocks"),
}
"""What django-migration-linter finds, by its codes."""


@pytest.mark.parametrize("code", LINTER)
def test_all_that_a_linter_of_migrations_finds_is_found(code):
    statements, kind = LINTER[code]
    assert kind in [each.kind for each in found(RunSQL(statements))]


def test_an_index_that_is_dropped_is_said_with_its_table():
    state = RemoveIndex("book", "ix_title")
    add = SeparateDatabaseAndState([], [AddIndex("book", INDEX)])
    assert [(each.kind, each.table) for each in found(add, state)] == [("blocks", "books")]


HARMLESS = {
    "a column": [AddField("book", "year", models.IntegerField(null=True))],
    "a column with a default": [AddField("book", "year", models.IntegerField(db_default=1))],
    "a longer text": [AlterField("book", "title", models.CharField(max_length=80, null=True))],
    "a text without end": [AlterField("book", "title", models.TextField(null=True))],
    "a table and its index": [
        CreateModel(
            "Pen", [("id", models.AutoField(primary_key=True)), ("ink", models.TextField())]
        ),
        AddIndex("pen", models.Index(fields=["ink"], name="ix_ink")),
    ],
    "an index built beside": [AddIndexConcurrently("book", INDEX)],
    "one of the tools": [SaferAddIndexConcurrently("book", INDEX)],
    "a unique constraint built beside": [SaferAddUniqueConstraint("book", UNIQUE)],
    "a check validated later": [
        AddConstraintNotValid("book", POSITIVE),
        ValidateConstraint("book", "pages_positive"),
    ],
    "a check of the tools": [SaferAddCheckConstraint("book", POSITIVE)],
    "a foreign key validated later": [
        AddField(
            "book",
            "shelf",
            models.ForeignKey(
                "shop.Shelf", models.CASCADE, null=True, db_constraint=False, db_index=False
            ),
        ),
        AddForeignKey(table="books", column="shelf_id", to="shop_shelf", name="books_shelf_fkey"),
    ],
    "a column that is written": [RunSQL("INSERT INTO books (title) VALUES ('UPDATE books')")],
    "a step in Python": [RunPython(RunPython.noop)],
    "an index dropped beside": [RunSQL("DROP INDEX CONCURRENTLY IF EXISTS ix_title")],
    "an index built again beside": [RunSQL("REINDEX INDEX CONCURRENTLY ix_title")],
    "a column that is filled by its default": [
        RunSQL("ALTER TABLE books ADD COLUMN x int NOT NULL DEFAULT 1")
    ],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_nobody_notices_is_not_found(name):
    assert found(*HARMLESS[name]) == []


def test_a_column_that_becomes_not_null_has_its_rows_filled_at_once():
    becomes = AlterField("book", "pages", models.IntegerField(db_default=0))
    assert [each.statement[:12] for each in found(becomes) if each.kind == "blocks"] == [
        'UPDATE "book',
        "ALTER TABLE ",
    ]


def test_not_null_that_a_check_has_proved_reads_nothing():
    assert [
        each.kind
        for each in found(
            SaferAlterFieldSetNotNull("book", "pages", models.IntegerField(db_default=0))
        )
        if each.kind == "blocks"
    ] == []
    proof = RunSQL(
        "ALTER TABLE books ADD CONSTRAINT c CHECK (pages IS NOT NULL) NOT VALID; "
        "ALTER TABLE books VALIDATE CONSTRAINT c"
    )
    proved = found(proof, AlterField("book", "pages", models.IntegerField(db_default=0)))
    assert [each for each in proved if each.kind == "blocks"] == []


def test_of_our_own_history_exactly_this_blocks():
    loader = MigrationLoader(None)
    ours = ("accounts", "crawler", "jobs", "providers")
    migrations = [node for key, node in loader.graph.nodes.items() if key[0] in ours]
    assert sorted(
        (f"{migration.app_label} {migration.name}", finding.table)
        for migration, state in walk(loader, migrations)
        for finding in review(migration, state, connection)
        if finding.kind == "blocks"
    ) == [
        ("accounts 0002_user_tier", "profiles"),
        ("accounts 0002_user_tier", "profiles"),
        ("crawler 0004_wide_file_sizes", "images"),
        ("jobs 0004_wide_file_sizes", "assets"),
    ]
