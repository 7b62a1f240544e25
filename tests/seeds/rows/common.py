"""What rows of several guides have in common."""

from tests.adoption.legacy import STATES
from tests.schema.packages import adds, creates, migration
from tests.seeds.checks import check, command, every
from tests.seeds.place import Place
from tests.seeds.table import On

FIRST = [("shop", "0001_initial")]
PEN = """
class Pen(models.Model):
    id = models.AutoField(primary_key=True, serialize=False)
    name = models.TextField(default="")
"""
PRICE = "    price = models.IntegerField(db_default=0)\n"


def shop(place: Place) -> None:
    """Make an app `shop` with a model and its migration, and apply it."""
    place.packages.add("shop", {"0001_initial": creates("Pen")}, models=PEN)
    place.manage("db upgrade")


def written(place: Place) -> str:
    """Return the text of the second migration of `shop`."""
    [file] = (place.packages.folder / "shop" / "migrations").glob("0002_*.py")
    place.packages._forget_modules(f"shop.migrations.{file.stem}")
    return file.read_text()


@check(on=On.COPY)
def upgrade(place: Place) -> None:
    place.manage("db downgrade -1 --yes")
    place.says("db status", "1 pending: apply with `manage.py db upgrade`.", code=1)
    place.manage("db upgrade head")
    place.says("db status", "At head: nothing is pending.")


@check(on=On.EMPTY)
def upgrade_from_nothing(place: Place) -> None:
    place.manage("db upgrade head")
    place.says("db status", "At head: nothing is pending.")


@check(on=On.EMPTY)
def upgrade_to_revision(place: Place) -> None:
    place.manage("db upgrade 002")
    place.says("db status", "0002_user_tier", "0002_job_chunks", code=1)
    assert place.one("SELECT to_regclass('candidates')") is None


@check(on=On.COPY)
def downgrade_one(place: Place) -> None:
    place.manage("db downgrade -1 --yes")
    place.says("db status", "1 pending", code=1)


@check(on=On.EMPTY)
def downgrade_to_revision(place: Place) -> None:
    place.manage("db upgrade 002")
    place.manage("db downgrade 001 --yes")
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'user_tier'"
    assert place.sql(columns) == [(0,)]
    assert place.one("SELECT to_regclass('job_chunks')::text") == "job_chunks"


@check(on=On.EMPTY)
def downgrade_to_nothing(place: Place) -> None:
    place.manage("db upgrade 002")
    place.manage("db downgrade base --yes")
    assert place.sql("SELECT count(*) FROM django_migrations") == [(0,)]
    assert place.one("SELECT to_regclass('job_chunks')") is None


@check(on=On.EMPTY)
def current(place: Place) -> None:
    place.manage("db upgrade 002")
    for words in ("db current", "db status"):
        first, second, *_ = place.manage(words, code=1).out.splitlines()
        assert first.split(maxsplit=1) == ["Current", "accounts 0002, crawler 0002 = 002"]
        assert second.startswith("Head ")
    place.manage("db upgrade head")
    first, second, *_ = place.manage("db status").out.splitlines()
    assert first.removesuffix(" (head)").split(maxsplit=1)[1] == second.split(maxsplit=1)[1]


history = command("db history", "0002_job_chunks", "0001_initial")
history_verbose = every(
    *(
        command(f"db history {option}", "Job chunks, as PixCrawler's revision 001 makes them")
        for option in ("-v", "--verbose")
    )
)


@check(on=On.EMPTY)
def sql_script(place: Place) -> None:
    script = place.manage("db upgrade head --sql").out
    place.psql(script)
    place.ran[-1] = "psql < migration.sql"
    place.says("db status", "At head: nothing is pending.")


@check(on=On.EMPTY)
def revision(place: Place) -> None:
    shop(place)
    place.packages.models("shop", PEN + PRICE)
    place.says(
        "db revision --autogenerate -m 'pens have a price'",
        "0002_pens_have_a_price.py",
        "Read them",
    )
    assert "Lock: " in written(place)
    place.manage("db upgrade")
    place.says("db history --verbose", "0002_pens_have_a_price")


@check(on=On.EMPTY)
def empty_revision(place: Place) -> None:
    shop(place)
    place.says("db revision -m 'fill prices' shop --empty", "0002_fill_prices.py")
    assert "operations = [" in written(place)


unchanged = command("db revision", "Nothing changed in the models.")


@check(on=On.EMPTY)
def forgotten_migration(place: Place) -> None:
    shop(place)
    place.packages.models("shop", PEN + PRICE)
    place.says("db check", "shop changed without a migration (Add field price to pen)", code=1)


@check(on=On.EMPTY)
def edited_file(place: Place) -> None:
    shop(place)
    place.packages.write("shop", "0001_initial", creates("Pen") + "# edited\n")
    place.says("db check", "shop 0001_initial was edited after it was applied", code=1)


@check(on=On.EMPTY)
def lost_file(place: Place) -> None:
    shop(place)
    place.packages.write("shop", "0002_more", migration(depends=FIRST))
    place.manage("db upgrade")
    place.packages.remove("shop", "0002_more")
    place.says("db status", "the file is gone: shop 0002_more", code=1)
    place.says("db prune --yes", "Forgot 1 row.")
    place.says("db status", "At head")


def fork(place: Place) -> None:
    """Let two branches each have added a migration to `shop`."""
    shop(place)
    for name in ("cover", "price"):
        text = adds("Pen", name, "models.TextField(null=True)", depends=FIRST)
        place.packages.write("shop", f"0002_{name}", text)


@check(on=On.EMPTY)
def merge(place: Place) -> None:
    fork(place)
    place.says("db heads", "More than one head in shop", code=1)
    place.says("db upgrade", "More than one head: shop (0002_cover, 0002_price)", code=1)
    place.manage("db merge -m 'cover and price' 0002_cover 0002_price --yes")
    place.manage("db heads")
    place.manage("db upgrade")


@check(on=On.EMPTY)
def rebase(place: Place) -> None:
    fork(place)
    place.says("db branches", 'dependencies = [("shop", "0002_cover")]', code=1)
    place.packages.remove("shop", "0002_price")
    after = [("shop", "0002_cover")]
    place.packages.write(
        "shop", "0003_price", adds("Pen", "price", "models.TextField(null=True)", depends=after)
    )
    place.manage("db branches")
    place.manage("db upgrade")


@check()
def backup(place: Place) -> None:
    file = place.folder / "before.dump"
    place.says(f"db backup {file}", "Back with `manage.py db restore")
    assert file.stat().st_size


@check(on=On.EMPTY)
def rehearse(place: Place) -> None:
    shop(place)
    more = adds("Pen", "price", "models.IntegerField(db_default=0)", depends=FIRST)
    place.packages.write("shop", "0002_price", more)
    place.says("db rehearse", "0002_price")
    place.says("db status", "1 pending", code=1)


@check(on=On.EMPTY)
def wipe(place: Place) -> None:
    place.manage("db upgrade 001")
    name = place.one("SELECT current_database()")
    place.manage(f"db wipe --yes-really {name}")
    assert place.one("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    place.manage("db upgrade 001")


@check(on=On.EMPTY)
def column_by_hand(place: Place) -> None:
    shop(place)
    field = "models.IntegerField(null=True)"
    place.packages.write("shop", "0002_price", adds("Pen", "price", field, depends=FIRST))
    place.ask("ALTER TABLE shop_pen ADD price integer")
    place.says("db upgrade", 'column "price" of relation "shop_pen" already exists', code=1)
    place.manage("db stamp head --yes")
    place.says("db status", "At head")


@check(on=On.EMPTY)
def unknown_revision(place: Place) -> None:
    STATES["pixcrawler-002"].build(place.ask)
    place.ask("UPDATE alembic_version SET version_num = '0f49690850e3'")
    place.says("db adopt", "0f49690850e3, a revision that nobody has", "--assume 002", code=1)
    assert place.one("SELECT version_num FROM alembic_version") == "0f49690850e3"


@check()
def reversible(place: Place) -> None:
    place.says("db downgrade base --plan", "0002_job_chunks")


def env_file(place: Place, text: str) -> dict[str, str]:
    """Write a `.env` with this text; return an environment that reads it and names no database."""
    file = place.folder / ".env"
    file.write_text(text)
    return {"PIXSIM_ENV_FILE": str(file), "DATABASE_URL": "", "DEBUG": "true"}


@check()
def by_env_file(place: Place) -> None:
    env = env_file(place, f"DATABASE_URL={place.url}\n")
    said = place.process("python manage.py db status", env=env)
    assert ".env" in said.split("Reachable")[0]
    assert "At head" in said


@check()
def not_postgresql(place: Place) -> None:
    env = env_file(place, "DATABASE_URL=mysql://root@127.0.0.1/aistory\n")
    said = place.process("python manage.py db status", env=env, code=1)
    assert "DATABASE_URL must name a PostgreSQL database" in said


@check()
def unreachable(place: Place) -> None:
    env = {"DATABASE_URL": "postgres://me@127.0.0.1:1/pixsim"}
    said = place.process("python manage.py db status", env=env, code=1)
    assert "No PostgreSQL answers at" in said


@check(on=On.EMPTY)
def plan(place: Place) -> None:
    shop(place)
    field = "models.IntegerField(db_default=0)"
    place.packages.write("shop", "0002_price", adds("Pen", "price", field, depends=FIRST))
    place.says("db upgrade --plan", "0002_price", "Add field price to Pen")
    place.says("db sql shop 0001:0002", 'ADD COLUMN "price" integer DEFAULT 0')
    place.says("db status", "1 pending", code=1)


@check(on=On.EMPTY)
def up_and_down(place: Place) -> None:
    shop(place)
    field = "models.IntegerField(db_default=0)"
    place.packages.write("shop", "0002_price", adds("Pen", "price", field, depends=FIRST))
    place.manage("db upgrade")
    place.manage("db downgrade -1 --yes")
    place.manage("db upgrade")
    place.says("db verify", "Clean: ")


@check(on=On.EMPTY)
def new_model(place: Place) -> None:
    shop(place)
    box = "class Box(models.Model):\n    id = models.AutoField(primary_key=True)\n"
    place.packages.models("shop", f"{PEN}\n\n{box}")
    place.says("db revision -m 'a box' shop", "Create model Box")
