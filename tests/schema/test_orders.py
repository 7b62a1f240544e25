"""Any order up, all the way down: whatever was applied in whatever order is taken back to nothing."""

import random

import pytest
from django.db import connections
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pixsim.schema import files, plugins
from pixsim.schema.history import load_migrations, read_history
from pixsim.schema.running import run
from pixsim.schema.targets import plan_for
from tests.schema.packages import Packages, adds, creates, migration
from tests.scratch import ALIAS

BOOKKEEPING = {"django_migrations", files.TABLE}
WIDER = (
    'migrations.AlterField("{model}", "id", models.BigAutoField(primary_key=True, serialize=False))'
)
BOOK_OF = 'models.ForeignKey("shop.Book", models.CASCADE, null=True)'
APPS = {
    "aisle": {
        "0001_initial": creates("Shelf", depends=[("shop", "0001_initial")]),
        "0002_book": adds("Shelf", "book", BOOK_OF, depends=[("aisle", "0001_initial")]),
    },
    "mail": {
        "0001_initial": creates("Letter"),
        "0002_book": adds(
            "Letter", "book", BOOK_OF, depends=[("mail", "0001_initial"), ("shop", "0001_initial")]
        ),
        "0003_note": migration(
            'migrations.RenameModel("Letter", "Note")', depends=[("mail", "0002_book")]
        ),
    },
    "shop": {
        "0001_initial": creates("Book"),
        # Changes the columns of whoever refers to it, if they are there.
        "0002_wider": migration(WIDER.format(model="Book"), depends=[("shop", "0001_initial")]),
        "0003_rows": migration(
            'migrations.RunSQL("CREATE TABLE rows ()", "DROP TABLE rows")',
            depends=[("shop", "0002_wider"), ("contenttypes", "0001_initial")],
            more="atomic = False",
        ),
    },
}
KEYS = [
    *((app, name) for app, texts in APPS.items() for name in texts),
    ("auth", "0001_initial"),
    ("contenttypes", "0001_initial"),
    ("contenttypes", "0002_remove_content_type_name"),
    ("sessions", "0001_initial"),
]


@pytest.fixture
def shops(packages: Packages, database: str) -> Packages:
    packages.others = [f"django.contrib.{app}" for app in ("auth", "contenttypes", "sessions")]
    for app, texts in APPS.items():
        packages.add(app, texts)
    return packages


def upgrade(*target: str) -> None:
    connection = connections[ALIAS]
    loader = load_migrations(connection)
    applied = read_history(connection, loader=loader).keys
    run(connection, plan_for(loader, applied, target, revisions=plugins.revisions()).steps)


def tables(sql) -> set[str]:
    return {name for (name,) in sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def assert_all_goes_back(db, sql) -> None:
    ran = db("downgrade", "base", "--yes")

    assert ran.code == 0, ran.out + ran.err
    assert sql("SELECT app, name FROM django_migrations") == []
    assert tables(sql) <= BOOKKEEPING


@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(KEYS), count=st.integers(1, len(KEYS)))
def test_migrations_applied_in_any_order_are_all_taken_back(shops, db, sql, order, count) -> None:
    for key in order[:count]:
        upgrade(*key)

    assert_all_goes_back(db, sql)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_our_own_history_applied_in_any_order_is_all_taken_back(database, db, sql, seed) -> None:
    chance = random.Random(seed)
    keys = sorted(load_migrations(None).graph.nodes)
    # Sessions need nothing, so that they go last, after the table of content types.
    for key in [("sessions", "0001_initial"), *chance.sample(keys, 6)]:
        upgrade(*key)

    assert_all_goes_back(db, sql)


def test_a_table_is_not_changed_for_models_that_were_taken_back_before(shops, db, sql) -> None:
    """In the graph's order mail 0002 comes before shop 0002, so that its state has the letters."""
    for key in [("shop", "0002_wider"), ("mail", "0002_book")]:
        upgrade(*key)

    assert_all_goes_back(db, sql)
