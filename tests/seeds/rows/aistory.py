"""aistory: migrations and database notes."""

from tests.schema.packages import adds, migration
from tests.seeds.checks import check, column, every
from tests.seeds.place import Place
from tests.seeds.rows import common
from tests.seeds.rows.common import FIRST, shop
from tests.seeds.table import FULFILLED, REFUSED, TRANSLATED, Guide, On, Row

WIDE = 'migrations.AlterField("Pen", "id", models.BigAutoField(primary_key=True))'


@check(on=On.COPY)
def worn_key(place: Place) -> None:
    place.ask("SELECT setval(pg_get_serial_sequence('images', 'id'), 1500000000)")
    place.says("db check", "images.id", code=1)


@check(on=On.EMPTY)
def chained_no_op(place: Place) -> None:
    common.fork(place)
    place.packages.write("shop", "0002_price", migration(depends=[("shop", "0002_cover")]))
    place.says("db branches", "No app has more than one head.")
    place.manage("db upgrade")


@check(on=On.EMPTY)
def wider_key(place: Place) -> None:
    shop(place)
    place.ask("INSERT INTO shop_pen (name) SELECT n FROM generate_series(1, 20) AS n")
    place.packages.models("shop", common.PEN.replace("AutoField", "BigAutoField"))
    place.says("db revision -m 'wider keys' shop", "four migrations", "A wider key", code=1)
    place.packages.write("shop", "0002_wide", migration(WIDE, depends=FIRST))
    [migration_] = place.manage("db rehearse --json").json["migrations"]
    assert migration_["rewritten"] == ["public.shop_pen"]


@check(on=On.EMPTY)
def tried_on_a_copy(place: Place) -> None:
    shop(place)
    place.ask("INSERT INTO shop_pen (name) SELECT n FROM generate_series(1, 20) AS n")
    place.packages.write("shop", "0002_wide", migration(WIDE, depends=FIRST))
    place.says("db rehearse", "0002_wide", "shop_pen")
    assert place.sql("SELECT count(*), pg_typeof(max(id))::text FROM shop_pen") == [(20, "integer")]
    place.manage("db upgrade")
    assert place.sql("SELECT count(*), pg_typeof(max(id))::text FROM shop_pen") == [(20, "bigint")]


@check(on=On.EMPTY)
def in_any_module(place: Place) -> None:
    shop(place)
    folder = place.packages.folder / "shop"
    (folder / "boxes.py").write_text(
        "from django.db import models\n\n\nclass Box(models.Model):\n"
        '    id = models.AutoField(primary_key=True)\n\n    class Meta:\n        app_label = "shop"\n'
    )
    place.packages.models("shop", f"from shop.boxes import Box as Box\n{common.PEN}")
    place.says("db revision -m 'a box' shop", "Create model Box")


@check(on=On.EMPTY)
def deleted_file(place: Place) -> None:
    shop(place)
    field = "models.TextField(null=True)"
    place.packages.write("shop", "0002_cover", adds("Pen", "cover", field, depends=FIRST))
    place.manage("db upgrade")
    place.packages.remove("shop", "0002_cover")
    place.says("db status", "the file is gone: shop 0002_cover", code=1)


GUIDE = Guide(
    "aistory",
    "aistory, migrations and database notes",
    "Notes of a back end on MySQL: keys, two heads, a version row that names a missing revision.",
    (
        Row(
            "primary keys are 32-bit",
            FULFILLED,
            "`crawl_jobs.id`, `job_chunks.id`, `images.id`, `jobs.id`",
            every(
                *(
                    column(table, "id", "integer", default=f"nextval('{table}_id_seq')")
                    for table in ("crawl_jobs", "job_chunks", "images", "jobs")
                )
            ),
        ),
        Row(
            "beyond 2.1 billion rows they change to 64-bit, with migrations",
            FULFILLED,
            "[a wider key](migrations.md#a-wider-key)",
            worn_key,
            "`manage.py db check` warns from half of the range on.",
        ),
        Row(
            "`file_size` is 64-bit",
            FULFILLED,
            "`images.file_size`, `assets.file_size_bytes`",
            every(
                column("images", "file_size", "bigint", null=True),
                column("assets", "file_size_bytes", "bigint", null=True),
            ),
        ),
        Row(
            "`.env` must hold a valid `DATABASE_URL`",
            FULFILLED,
            "`.env`",
            common.by_env_file,
            "Or the environment.",
        ),
        Row(
            "`alembic upgrade head`",
            FULFILLED,
            "`manage.py db upgrade head`",
            common.upgrade,
        ),
        Row(
            "an autogenerate that is safe to run, and empty when nothing changed",
            FULFILLED,
            "`manage.py db revision`",
            common.unchanged,
            "It writes no file then.",
        ),
        Row(
            "several heads: keep the one that made the schema, convert the others",
            TRANSLATED,
            "`manage.py db branches`",
            common.rebase,
            "It names the line to change; where both were applied, `manage.py db merge APP`.",
        ),
        Row(
            "or chain the duplicate as a no-op",
            FULFILLED,
            "`dependencies` of the duplicate",
            chained_no_op,
        ),
        Row(
            "delete files only where all environments are yours",
            FULFILLED,
            "`manage.py db status`",
            deleted_file,
            "A database where the file was applied says so.",
        ),
        Row(
            "the version row names a missing revision: a script reads the URL, inspects and sets it",
            TRANSLATED,
            "`manage.py db adopt --assume REVISION`",
            common.unknown_revision,
            "It looks at the tables and names the revision that they equal.",
        ),
        Row(
            "or inspect and set it by hand, carefully",
            REFUSED,
            "`manage.py db prune`",
            common.lost_file,
            "A row set by hand says what is not so. In our own history, `prune` forgets the row of"
            " a file that is gone.",
        ),
        Row(
            "autogenerate must see every model module",
            FULFILLED,
            "the app's `models`",
            in_any_module,
            "Whatever module an app's `models` imports.",
        ),
        Row(
            "wiping, in development only: drop and create, or drop all tables, then upgrade",
            TRANSLATED,
            "`manage.py db wipe`, `manage.py db upgrade`",
            common.wipe,
            "With `DEBUG` off only with the database's name in `--yes-really`.",
        ),
        Row(
            "MySQL",
            REFUSED,
            "PostgreSQL 14 or newer",
            common.not_postgresql,
            "The queue needs SKIP LOCKED, partial indexes and transactions around schema changes.",
        ),
        Row(
            "changing key types: models first, then generate and inspect",
            TRANSLATED,
            "[a wider key](migrations.md#a-wider-key)",
            wider_key,
            "`db revision` refuses to write the one that rewrites the table (`manage.py db rehearse` shows"
            " that) and names the guide; on a large one fill a second column beside it.",
        ),
        Row(
            "apply where data is preserved; try it on a copy of production data first",
            FULFILLED,
            "`manage.py db rehearse`",
            tried_on_a_copy,
        ),
    ),
)
