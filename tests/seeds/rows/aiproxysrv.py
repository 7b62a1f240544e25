"""aiproxysrv: database implementation and migration guide."""

from tests.schema.packages import adds, migration
from tests.seeds.checks import check, command, read
from tests.seeds.place import Place
from tests.seeds.rows import common
from tests.seeds.rows.common import FIRST, shop
from tests.seeds.table import FULFILLED, TRANSLATED, Guide, On, Row

SONG = "generate --provider local --operation song --param title=Rain --param genre=jazz"
SHELF = (
    'migrations.CreateModel("Shelf", [("id", models.AutoField(primary_key=True)),'
    ' ("pen", models.ForeignKey("shop.Pen", models.CASCADE, null=True, db_constraint=False,'
    ' db_index=False))]), AddForeignKey(table="shop_shelf", column="pen_id", to="shop_pen",'
    ' name="shop_shelf_pen_id_fkey", on_delete="CASCADE")'
)
OPERATION = "from pixsim.core.db.operations import AddForeignKey\n"
SAFE = "from django_pg_migration_tools.operations import SaferAddIndexConcurrently\n"
SAFE_INDEX = (
    'SaferAddIndexConcurrently(model_name="pen",'
    ' index=models.Index(fields=["name"], name="ix_pens_name"))'
)


@check(on=On.COPY)
def described(place: Place) -> None:
    place.manage("db current")
    place.manage("db history")
    assert "ix_job_chunks_job_status" in place.psql(r"\d job_chunks")


@check(on=On.COPY)
def song(place: Place) -> None:
    made, again = (
        place.manage(f"{SONG} --param lyrics='It rains.' --key rain --json").json for _ in range(2)
    )
    assert made["job"] == again["job"]
    assert place.sql(
        "SELECT operation_type, params ->> 'lyrics' FROM jobs WHERE idempotency_key = 'rain'"
    ) == [("song", "It rains.")]


@check(on=On.COPY)
def other_name(place: Place) -> None:
    place.sql("ALTER INDEX ix_job_chunks_task_id RENAME TO ix_tasks")
    place.says("db verify", "ix_job_chunks_task_id", "ix_tasks", code=1)


@check(on=On.EMPTY)
def column_with_default(place: Place) -> None:
    shop(place)
    place.ask("INSERT INTO shop_pen (name) VALUES ('old')")
    field = "models.CharField(max_length=20, db_default='red')"
    place.packages.write("shop", "0002_colour", adds("Pen", "colour", field, depends=FIRST))
    place.manage("db upgrade")
    place.ask("INSERT INTO shop_pen (name) VALUES ('new')")
    assert place.sql("SELECT DISTINCT colour FROM shop_pen") == [("red",)]


@check(on=On.EMPTY)
def renamed(place: Place) -> None:
    shop(place)
    place.packages.write(
        "shop",
        "0002_rename",
        migration(
            'migrations.RenameField("Pen", "name", "title"),'
            ' migrations.AlterField("Pen", "title", models.TextField(db_column="name"))',
            depends=FIRST,
        ),
    )
    place.manage("db upgrade")
    assert place.sql("SELECT count(title) FROM (SELECT name AS title FROM shop_pen) AS pens") == [
        (0,)
    ]


@check(on=On.EMPTY)
def safe_index(place: Place) -> None:
    shop(place)
    text = SAFE + migration(SAFE_INDEX, depends=FIRST, more="atomic = False")
    place.packages.write("shop", "0002_index", text)
    place.manage("db upgrade --threshold 0")
    index = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_pens_name'::regclass"
    assert place.sql(index) == [(True,)]


@check(on=On.EMPTY)
def safe_foreign_key(place: Place) -> None:
    shop(place)
    text = OPERATION + migration(SHELF, depends=FIRST, more="atomic = False")
    place.packages.write("shop", "0002_shelf", text)
    place.manage("db upgrade")
    key = "SELECT convalidated FROM pg_constraint WHERE conname = 'shop_shelf_pen_id_fkey'"
    assert place.sql(key) == [(True,)]


@check(on=On.EMPTY)
def add_fill_require(place: Place) -> None:
    shop(place)
    place.ask("INSERT INTO shop_pen (name) VALUES ('Ada')")
    add = adds("Pen", "title", "models.TextField(null=True)", depends=FIRST)
    fill = 'migrations.RunSQL("UPDATE shop_pen SET title = name", migrations.RunSQL.noop)'
    require = 'migrations.AlterField("Pen", "title", models.TextField())'
    place.packages.write("shop", "0002_title", add)
    place.packages.write("shop", "0003_fill", migration(fill, depends=[("shop", "0002_title")]))
    place.packages.write("shop", "0004_need", migration(require, depends=[("shop", "0003_fill")]))
    place.manage("db upgrade")
    assert place.sql(
        "SELECT is_nullable FROM information_schema.columns WHERE column_name = 'title'"
    ) == [("NO",)]


@check(on=On.EMPTY)
def hints(place: Place) -> None:
    shop(place)
    place.packages.models("shop", common.PEN + "    ink = models.TextField()\n")
    place.says("db revision -m ink shop", "says nothing of the rows", "db_default", code=1)


@check()
def production(place: Place) -> None:
    file = place.folder / "before.dump"
    place.manage("db check")
    place.says("db sql daa977a0bfa9", "CREATE TABLE")
    place.manage(f"db backup {file}")
    place.says("db downgrade -1 --plan", "Take back")


@check(on=On.EMPTY)
def backup_apply_verify(place: Place) -> None:
    shop(place)
    place.packages.write(
        "shop", "0002_price", adds("Pen", "price", "models.IntegerField(null=True)", depends=FIRST)
    )
    place.manage(f"db backup {place.folder}/before.dump")
    place.manage("db upgrade")
    place.says("db verify", "Clean: ")


@check(on=On.EMPTY)
def rollback_verify(place: Place) -> None:
    shop(place)
    place.packages.write(
        "shop", "0002_price", adds("Pen", "price", "models.IntegerField(null=True)", depends=FIRST)
    )
    place.manage("db upgrade")
    place.manage("db downgrade -1 --yes")
    place.manage("db verify")


CHANGE = (
    Row(
        "a model changes, then the migration is generated",
        FULFILLED,
        "`manage.py db revision -m MESSAGE`",
        common.revision,
    ),
    Row(
        "review it: tables, nullability, defaults, indexes, data",
        FULFILLED,
        "the hints of `manage.py db revision`, [reviewing one](migrations.md#reviewing-one)",
        hints,
        "A new column that says nothing of the rows that are there is not written at all.",
    ),
    Row("apply it", FULFILLED, "`manage.py db upgrade`", common.upgrade),
    Row(
        r"then `current`, `history`, `\d`",
        TRANSLATED,
        r"`manage.py db current`, `manage.py db history`, `\d` in psql",
        described,
    ),
    Row(
        "then the schemas",
        TRANSLATED,
        "`manage.py providers schema PROVIDER OPERATION`",
        command("providers schema local song", "title", "lyrics", "genre"),
        "One declared schema per operation, which forms, commands and workers use.",
    ),
    Row(
        "then the business logic",
        TRANSLATED,
        "`services.py` of the app",
        read("docs/architecture.md", "`services.py` the use cases"),
        "[The layers](architecture.md#layers) say what may import what.",
    ),
    Row(
        "test it by `POST /api/v1/song/generate` with title, lyrics, genre",
        TRANSLATED,
        "`manage.py generate --provider local --operation song`",
        song,
        "There is no HTTP API. Another program runs the command: `--key` makes a request that is "
        "repeated the same job, and `--json` says which.",
    ),
)

SCENARIOS = (
    Row(
        "scenario: a column with a default",
        FULFILLED,
        "[a column with a default](migrations.md#a-column-with-a-default)",
        column_with_default,
    ),
    Row(
        "scenario: rename a column",
        TRANSLATED,
        "[a rename](migrations.md#a-rename)",
        renamed,
        "The field is renamed and keeps its column, so programs that still run are not broken.",
    ),
    Row("scenario: an index", FULFILLED, "[an index](migrations.md#an-index)", safe_index),
    Row(
        "scenario: a foreign key",
        FULFILLED,
        "[a foreign key](migrations.md#a-foreign-key)",
        safe_foreign_key,
    ),
    Row(
        "scenario: a data migration (add, fill, not null)",
        FULFILLED,
        "[a data migration](migrations.md#a-data-migration)",
        add_fill_require,
        "Three migrations.",
    ),
)

MANAGE = (
    Row("`alembic current`", TRANSLATED, "`manage.py db current`", common.current),
    Row(
        "`alembic history --verbose`",
        FULFILLED,
        "`manage.py db history --verbose`",
        common.history_verbose,
    ),
    Row(
        "`alembic downgrade -1`",
        FULFILLED,
        "`manage.py db downgrade -1`",
        common.downgrade_one,
    ),
    Row(
        "`alembic downgrade REVISION`",
        FULFILLED,
        "`manage.py db downgrade REVISION`",
        common.downgrade_to_revision,
        "An older id, or an app and a migration.",
    ),
    Row(
        "`alembic downgrade base`",
        FULFILLED,
        "`manage.py db downgrade base`",
        common.downgrade_to_nothing,
    ),
    Row(
        "`alembic upgrade head --sql`",
        FULFILLED,
        "`manage.py db upgrade head --sql`",
        common.sql_script,
    ),
    Row(
        "`alembic branches`",
        FULFILLED,
        "`manage.py db branches`",
        command("db branches", "No app has more than one head."),
    ),
    Row(
        "`alembic merge -m MESSAGE REV1 REV2`",
        FULFILLED,
        "`manage.py db merge -m MESSAGE REV1 REV2`",
        common.merge,
        "Names of migrations, or an app; all heads of an app are joined.",
    ),
)

TROUBLES = (
    Row(
        "the database is unreachable",
        FULFILLED,
        "[troubleshooting](troubleshooting.md#the-database-does-not-answer)",
        common.unreachable,
        "One line says why.",
    ),
    Row(
        "the configuration is wrong",
        FULFILLED,
        "[troubleshooting](troubleshooting.md#the-database-does-not-answer)",
        common.not_postgresql,
    ),
    Row(
        "the version table is wrong",
        TRANSLATED,
        "`manage.py db status`, `manage.py db prune`",
        common.lost_file,
    ),
    Row(
        "autogenerate misses a model",
        FULFILLED,
        "`manage.py db revision`",
        common.new_model,
        "It sees every model of an installed app.",
    ),
    Row(
        "or the naming",
        FULFILLED,
        "`manage.py db verify`",
        other_name,
        "It compares the names of all indexes and constraints.",
    ),
    Row(
        "conflicting migrations",
        FULFILLED,
        "`manage.py db branches`, `manage.py db merge APP`",
        common.merge,
    ),
    Row("a reset in development", FULFILLED, "`manage.py db wipe`", common.wipe),
)

DO = (
    Row("do review", FULFILLED, "`manage.py db upgrade --plan`", common.plan),
    Row("do test", FULFILLED, "`manage.py db rehearse`", common.rehearse),
    Row(
        "do test both directions",
        FULFILLED,
        "`manage.py db upgrade`, `manage.py db downgrade -1`",
        common.up_and_down,
    ),
    Row(
        "do comment",
        FULFILLED,
        "`manage.py db history --verbose`",
        common.history_verbose,
        "It shows what each migration says of itself.",
    ),
    Row(
        "do write meaningful messages",
        FULFILLED,
        "`manage.py db revision -m MESSAGE`",
        common.revision,
        "They become the file's name and docstring.",
    ),
    Row("do commit with the code", FULFILLED, "`manage.py db check`", common.forgotten_migration),
    Row(
        "do keep them small",
        TRANSLATED,
        "[reviewing one](migrations.md#reviewing-one)",
        read("docs/migrations.md", "One logical change, small enough to take back by itself."),
        "A rule for the reviewer.",
    ),
    Row("do not edit applied ones", FULFILLED, "`manage.py db check`", common.edited_file),
    Row(
        "do not skip the review",
        TRANSLATED,
        "`manage.py db upgrade --plan`",
        common.plan,
        "What blocks a large table stops by itself.",
    ),
    Row(
        "do not combine unrelated changes",
        TRANSLATED,
        "[reviewing one](migrations.md#reviewing-one)",
        read("docs/migrations.md", "Schema and data are separate migrations."),
        "A rule for the reviewer.",
    ),
    Row(
        "do not forget the schemas",
        FULFILLED,
        "`manage.py db schema --check`",
        command("db schema --check", "fresh"),
        "The documented schema is compared with the migrations; parameters have one schema.",
    ),
    Row("do not apply untested ones", FULFILLED, "`manage.py db rehearse`", common.rehearse),
    Row(
        "do not delete files",
        FULFILLED,
        "`manage.py db check`, `manage.py db status`",
        common.lost_file,
        "Both name the row whose file is gone.",
    ),
)

PRODUCTION = (
    Row(
        "before production: tested, SQL reviewed, backup, rollback plan",
        FULFILLED,
        "[deploying](migrations.md#deploying)",
        production,
    ),
    Row(
        "the front end is coordinated",
        TRANSLATED,
        "[deploying](migrations.md#deploying)",
        read("docs/migrations.md", "Old code must run on the new schema"),
        "There is no separate front end; the rule is the same for web and workers.",
    ),
    Row(
        "backup, apply, verify, restart",
        FULFILLED,
        "`manage.py db backup`, `manage.py db upgrade`, `manage.py db verify`",
        backup_apply_verify,
        "Then restart web and workers.",
    ),
    Row(
        "rollback, verify, restart",
        FULFILLED,
        "`manage.py db downgrade -1`, `manage.py db verify`",
        rollback_verify,
        "[Rolling back](migrations.md#rolling-back): the code first.",
    ),
)

GUIDE = Guide(
    "aiproxysrv",
    "aiproxysrv, database implementation and migration guide",
    "From a changed model to production, with scenarios, troubles and a check list.",
    (*CHANGE, *SCENARIOS, *MANAGE, *TROUBLES, *DO, *PRODUCTION),
)
