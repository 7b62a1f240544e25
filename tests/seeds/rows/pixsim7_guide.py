"""PixSim7: the database migrations guide."""

from tests.databases import PROJECT
from tests.schema.packages import adds, migration
from tests.seeds.checks import check, command, every
from tests.seeds.place import Place
from tests.seeds.rows import common
from tests.seeds.rows.common import FIRST, env_file, shop
from tests.seeds.table import FULFILLED, REFUSED, TRANSLATED, Guide, On, Row

FILL = 'migrations.RunSQL("UPDATE shop_pen SET full_name = name", migrations.RunSQL.noop)'
FULL_NAME = 'migrations.AddField("Pen", "full_name", models.TextField(null=True))'


@check(on=On.EMPTY)
def positional_message(place: Place) -> None:
    shop(place)
    place.packages.models("shop", common.PEN + common.PRICE)
    place.says("db revision 'pens have a price'", "0002_pens_have_a_price.py", "Read them")


@check()
def downgrade_plan(place: Place) -> None:
    place.says("db downgrade daa977a0bfa9 --plan", "providers 0008_indexes_and_constraints")


@check()
def environment_first(place: Place) -> None:
    env = env_file(place, "DATABASE_URL=postgres://me@127.0.0.1:1/other\n")
    said = place.process("python manage.py db status", env={**env, "DATABASE_URL": place.url})
    assert "From         DATABASE_URL in the environment" in said
    assert "At head" in said


@check()
def port_in_the_url(place: Place) -> None:
    env = env_file(place, f"DATABASE_URL={place.url}\nPOSTGRES_PORT=1\n")
    assert "At head" in place.process("python manage.py db status", env=env)
    env = env_file(place, "POSTGRES_PORT=5433\n") | {"DATABASE_URL": ""}
    said = place.process("python manage.py db status", env=env, code=1)
    assert "write DATABASE_URL=postgres://USER:PASSWORD@127.0.0.1:5433/pixsim there." in said


@check()
def no_default_in_production(place: Place) -> None:
    env = env_file(place, "ALLOWED_HOSTS=pixsim.example\nSECRET_KEY=x\n")
    env |= {"DEBUG": "false", "CREDENTIALS_KEYS": "x"}
    said = place.process("python manage.py db status", env=env, code=1)
    assert "DATABASE_URL is not set, and DEBUG is off" in said


@check()
def own_file_is_ignored(place: Place) -> None:
    (place.folder / "alembic.ini").write_text(
        "[alembic]\nsqlalchemy.url = postgresql://me@127.0.0.1:1/other\n"
    )
    said = place.process(f"python {PROJECT}/manage.py db status", cwd=place.folder)
    place.ran[-1] = "python …/manage.py db status"
    assert "At head" in said


@check()
def edited_env_file(place: Place) -> None:
    name = place.one("SELECT current_database()")
    for database, code in ((name, 0), (f"{name}_other", 1)):
        env = env_file(place, f"DATABASE_URL={place.url.replace(name, database)}\n")
        said = place.process("python manage.py db status", env=env, code=code)
        assert f"'{database}'" in said


@check()
def one_row_per_migration(place: Place) -> None:
    rows = place.sql("SELECT name FROM django_migrations WHERE app = 'jobs' ORDER BY id")
    assert ("0001_jobs",) in rows
    assert ("0002_params",) in rows


@check()
def wrong_folder(place: Place) -> None:
    said = place.process("python manage.py db status", cwd=place.folder, code=2)
    assert "can't open file" in said


@check(on=On.EMPTY)
def broken_import(place: Place) -> None:
    shop(place)
    place.packages.write("shop", "0002_broken", "import nothing_like_it\n")
    place.says(
        "db upgrade",
        "ModuleNotFoundError: No module named 'nothing_like_it'",
        "shop/migrations/0002_broken.py, line 1). Nothing was changed.",
        code=1,
    )


@check(on=On.COPY)
def behind_but_at_head(place: Place) -> None:
    place.ask("ALTER TABLE crawl_jobs DROP COLUMN chunk_size")
    place.says("db status", "At head")
    place.says("db verify", "column crawl_jobs.chunk_size", "found nothing", code=1)


@check(on=On.EMPTY)
def schema_then_data(place: Place) -> None:
    shop(place)
    place.ask("INSERT INTO shop_pen (name) VALUES ('Ada')")
    place.packages.write("shop", "0002_full_name", migration(FULL_NAME, depends=FIRST))
    after = [("shop", "0002_full_name")]
    place.packages.write("shop", "0003_fill", migration(FILL, depends=after))
    place.manage("db upgrade")
    assert place.sql("SELECT full_name FROM shop_pen") == [("Ada",)]


@check(on=On.EMPTY)
def renamed_or_lost(place: Place) -> None:
    shop(place)
    place.packages.models("shop", common.PEN.replace("name", "title"))
    place.says("db revision -m titles shop", "0002_titles.py", "rename")


@check(on=On.EMPTY)
def one_change(place: Place) -> None:
    shop(place)
    field = "models.IntegerField(db_default=0)"
    place.packages.write("shop", "0002_price", adds("Pen", "price", field, depends=FIRST))
    place.manage("db upgrade")
    place.says("db downgrade -1 --plan", "shop 0002_price")


GUIDE = Guide(
    "pixsim7-guide",
    "PixSim7, database migrations guide",
    "The guide around a helper for nine tasks in ten, with the plain commands for the tenth.",
    (
        Row(
            "`db status`: the database's revision and the files' head; equal means that nothing is"
            " pending",
            FULFILLED,
            "`manage.py db status`",
            common.current,
            "Its first two lines, with the older revision's id where it is that point.",
        ),
        Row("`upgrade`: all that is pending", FULFILLED, "`manage.py db upgrade`", common.upgrade),
        Row(
            '`revision "message"`: autogenerate, always to be reviewed',
            FULFILLED,
            '`manage.py db revision "message"`',
            positional_message,
            "It compares the models with the migration files; `manage.py db verify` compares these"
            " with the database.",
        ),
        Row("`history`", FULFILLED, "`manage.py db history`", common.history),
        Row("`downgrade -1`", FULFILLED, "`manage.py db downgrade -1`", common.downgrade_one),
        Row(
            "`downgrade REVISION`",
            FULFILLED,
            "`manage.py db downgrade REVISION`",
            downgrade_plan,
            "An older id, or an app and a migration.",
        ),
        Row(
            "the URL comes from `.env` first (`DATABASE_URL`)",
            TRANSLATED,
            "`.env`, after the environment",
            every(common.by_env_file, environment_first),
            "Containers set the environment, so it decides; every command warns when both differ.",
        ),
        Row(
            "`.env` may have POSTGRES_PORT",
            REFUSED,
            "the port in `DATABASE_URL`",
            port_in_the_url,
            "One place says where the database is; a file with POSTGRES_PORT alone is refused with the "
            "line to write.",
        ),
        Row(
            "then the settings' default",
            TRANSLATED,
            "the embedded PostgreSQL, while developing",
            no_default_in_production,
            "With `DEBUG` off a missing URL is refused.",
        ),
        Row(
            "the tool's own file is ignored; a wrong port in it does not matter",
            FULFILLED,
            "`alembic.ini` is not read",
            own_file_is_ignored,
        ),
        Row("editing `.env` is all that is needed", FULFILLED, "`.env`", edited_env_file),
        Row(
            "a migration has an id, its parent, upgrade and downgrade",
            TRANSLATED,
            "its name, `dependencies`, `operations`",
            common.revision,
            "One list of operations serves both ways.",
        ),
        Row(
            "files are named by date, id and description",
            TRANSLATED,
            "`crawler/migrations/0002_job_chunks.py`",
            common.history,
            "By number and description.",
        ),
        Row(
            "a version table holds one row, the current revision",
            TRANSLATED,
            "`django_migrations`",
            one_row_per_migration,
            "One row for each migration that was applied.",
        ),
        Row(
            '"Column already exists" (changed by hand): `stamp head`',
            TRANSLATED,
            "`manage.py db stamp head`",
            common.column_by_hand,
            "It compares first, and records only what is really there.",
        ),
        Row(
            '"No such file or directory": the wrong folder',
            FULFILLED,
            "[troubleshooting](troubleshooting.md#it-is-the-wrong-folder-program-or-database)",
            wrong_folder,
        ),
        Row(
            "import errors: one broken file breaks all migrations",
            FULFILLED,
            "[troubleshooting](troubleshooting.md#the-migration-files-cannot-be-read)",
            broken_import,
            "The message names the file and its line, and nothing is changed.",
        ),
        Row(
            '"shows head but the database is behind": upgrade',
            TRANSLATED,
            "`manage.py db verify`",
            behind_but_at_head,
            "It names what is missing; nothing is pending, so an upgrade would do nothing.",
        ),
        Row("plain: `alembic current`", TRANSLATED, "`manage.py db current`", common.current),
        Row(
            "plain: `alembic heads`",
            FULFILLED,
            "`manage.py db heads`",
            command("db heads", "accounts", "crawler", "jobs", "providers"),
            "One head for each app.",
        ),
        Row(
            "plain: `alembic upgrade REVISION`",
            FULFILLED,
            "`manage.py db upgrade REVISION`",
            common.upgrade_to_revision,
        ),
        Row(
            "plain: `alembic upgrade head --sql`",
            FULFILLED,
            "`manage.py db upgrade head --sql`",
            common.sql_script,
        ),
        Row(
            "plain: `alembic upgrade head --sql > migration.sql`",
            FULFILLED,
            "`manage.py db upgrade head --sql > migration.sql`",
            common.sql_script,
            "The file can be given to psql.",
        ),
        Row(
            "plain: `alembic revision -m MESSAGE` (empty)",
            TRANSLATED,
            "`manage.py db revision -m MESSAGE APP --empty`",
            common.empty_revision,
        ),
        Row(
            "several heads: a merge migration",
            FULFILLED,
            "`manage.py db merge APP`",
            common.merge,
        ),
        Row(
            "custom logic: a schema change and `UPDATE users SET full_name = …` in one migration",
            TRANSLATED,
            "[a data migration](migrations.md#a-data-migration)",
            schema_then_data,
            "Two migrations: a data step in the same transaction would keep the table's lock.",
        ),
        Row(
            "review autogenerated ones: right, complete, data?",
            FULFILLED,
            "the hints of `manage.py db revision`",
            renamed_or_lost,
            "It says, for example, that a drop and an add may be a rename.",
        ),
        Row(
            "try them on a development database",
            FULFILLED,
            "`manage.py db rehearse`",
            common.rehearse,
        ),
        Row(
            "small and focused, one logical change",
            FULFILLED,
            "[reviewing one](migrations.md#reviewing-one)",
            one_change,
            "Each is taken back by itself.",
        ),
        Row(
            "never edit an applied one",
            FULFILLED,
            "`manage.py db check`",
            common.edited_file,
            "It knows the hash of every file that was applied.",
        ),
        Row(
            "commit it with the code",
            FULFILLED,
            "`manage.py db check`",
            common.forgotten_migration,
            "It finds a model that changed without a migration; CI runs it.",
        ),
    ),
)
