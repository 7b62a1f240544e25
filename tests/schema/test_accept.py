"""`db accept`: what is meant to differ is named as known, and only as long as it is what was accepted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema import accepted
from tests.schema.commands import scratch_url
from tests.schema.packages import Packages, adds, creates, migration
from tests.scratch import ALIAS, NAME, Ran

Db = Callable[..., Ran]
Sql = Callable[..., list[tuple[Any, ...]]]
FIRST = [("shop", "0001_initial")]
TAG = "column shop_pen.site_tag"
INDEX = "index site_index of shop_pen"


@pytest.fixture
def shop(packages: Packages, database: str, sql: Sql) -> Packages:
    """A site with a column, an index and a table of its own, and one column that it altered."""
    packages.add("shop", {"0001_initial": creates("Pen")})
    call_command("migrate", database=ALIAS, verbosity=0)
    sql(
        "ALTER TABLE shop_pen ADD site_tag text, ALTER name DROP NOT NULL;"
        " CREATE INDEX site_index ON shop_pen (site_tag); CREATE TABLE visitors (id int)"
    )
    return packages


def drift(db: Db) -> list[str]:
    """The differences that `verify` reports as drift, by name."""
    answer = db("verify", "--json").json
    assert answer["clean"] == (not answer["differences"])
    return [f"{one['kind']} {one['table']}.{one['name']}" for one in answer["differences"]]


def test_what_is_accepted_is_known_and_anything_else_is_still_drift(shop: Packages, db: Db) -> None:
    ran = db("accept", TAG, "shop_pen.site_index", "--why", "ours since 2024")
    assert (ran.code, ran.out, ran.err) == (
        0,
        f"Accepted: {TAG}: expected nothing, found text, null, no default\n"
        f"Accepted: {INDEX}: expected nothing, found USING btree (site_tag)\n",
        "",
    )
    ran = db("verify")
    assert ran.code == 1
    known, other = ran.out.splitlines()[1:3], ran.out.splitlines()[0]
    assert other == "column shop_pen.name: expected not null, found null"
    assert known[0].startswith(
        f"Known: {TAG}: expected nothing, found text, null, no default (accepted 20"
    )
    assert known[0].endswith(": ours since 2024)")
    assert known[1].startswith(f"Known: {INDEX}: ")
    checked = db("check").out.splitlines()
    assert [line for line in checked if line.startswith("drift")] == [f"drift: {other}"]

    assert db("accept", "name").code == 0
    ran = db("verify", "--json")
    assert (ran.code, ran.json["clean"], ran.json["differences"]) == (0, True, [])
    assert [each["name"] for each in ran.json["accepted"]] == ["name", "site_tag", "site_index"]
    assert db("verify").out.endswith("\nClean: 1 migrations compared.\n")
    assert "drift: " not in db("check").out


def test_the_table_says_who_when_and_the_hash_of_what_was_accepted(
    shop: Packages, db: Db, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert db("accept", "--list").out == "Nothing is accepted.\n"
    monkeypatch.setenv("LOGNAME", "anna")
    db("accept", TAG, "--why", "a label")
    [row] = db("accept", "--list", "--json").json["accepted"]
    [(role,)] = sql("SELECT session_user")
    definition = "expected nothing, found text, null, no default"
    assert (row["kind"], row["table"], row["name"]) == ("column", "shop_pen", "site_tag")
    assert (row["definition"], row["sha256"]) == (definition, accepted.digest(definition))
    assert (row["by"], row["why"]) == (f"anna as {role}", "a label")
    assert sql("SELECT now() - accepted_at < '1 hour' FROM pixsim_accepted") == [(True,)]
    [heading, line] = db("accept", "--list").out.splitlines()
    assert heading.split() == ["accepted", "definition", "when", "by", "why"]
    assert line.startswith(f"{TAG}  {definition}  20")
    assert line.endswith("a label")


def test_what_changes_after_it_was_accepted_is_drift_again(
    shop: Packages, db: Db, sql: Sql
) -> None:
    db("accept", TAG, INDEX, "name")
    sql("ALTER TABLE shop_pen ALTER site_tag SET DEFAULT 'x'")
    ran = db("verify")
    assert ran.code == 1
    first, *_, last, unknown = ran.out.splitlines()
    assert unknown == "Not of any migration, and left alone: visitors."
    assert first == f"{TAG}: expected nothing, found text, null, default 'x'::text"
    assert last.startswith("It was accepted 20")
    assert last.endswith(f", as another: {TAG}: expected nothing, found text, null, no default")
    assert db("verify", "--json").json["changed_since_accepted"] == [TAG]

    again = db("accept", TAG)
    assert again.out == (
        f"Accepted: {first} (before: expected nothing, found text, null, no default)\n"
    )
    assert drift(db) == []
    # As it was first is not as it was accepted last.
    sql("ALTER TABLE shop_pen ALTER site_tag DROP DEFAULT")
    assert drift(db) == ["column shop_pen.site_tag"]


def test_what_is_gone_is_said_and_no_drift(shop: Packages, db: Db, sql: Sql) -> None:
    db("accept", TAG, INDEX, "name")
    sql("DROP INDEX site_index")
    ran = db("verify")
    assert (ran.code, ran.out.splitlines()[2]) == (
        0,
        f"Accepted, and no difference any more: {INDEX}. Forget it with "
        "`manage.py db accept --revoke`.",
    )
    assert db("verify", "--json").json["accepted_and_gone"] == [INDEX]
    again = db("accept", INDEX)
    assert (again.code, again.out) == (
        0,
        f"Accepted already: {INDEX}, which is no difference now\n",
    )
    assert db("accept", "--revoke", INDEX).code == 0
    assert db("verify", "--json").json["accepted_and_gone"] == []
    # If it comes back, it must be accepted again.
    sql("CREATE INDEX site_index ON shop_pen (site_tag)")
    assert drift(db) == ["index shop_pen.site_index"]


def test_revoking_makes_it_drift_again(shop: Packages, db: Db) -> None:
    db("accept", TAG, INDEX, "name")
    ran = db("accept", "--revoke", "shop_pen.site_tag", "site_index")
    assert (ran.code, ran.out) == (0, f"Accepted no longer: {TAG}.\nAccepted no longer: {INDEX}.\n")
    assert drift(db) == ["column shop_pen.site_tag", "index shop_pen.site_index"]
    assert db("accept", "--revoke", "name", "--json").json == {"revoked": ["column shop_pen.name"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "Say what to accept. `verify` reports column shop_pen.name, column shop_pen.site_tag, "
            "index site_index of shop_pen.\n",
        ),
        (
            ["site_tag", "nothing_like_it"],
            "nothing_like_it: `verify` reports no difference of this name. Nothing was changed. It "
            "reports column shop_pen.name, ",
        ),
        (["visitors"], "Tables of no migration need no acceptance"),
        (["--revoke"], "Say what is accepted no longer: `accept --revoke NAME`. Accepted is: "),
        (
            ["--revoke", "site_tag"],
            "site_tag: that was not accepted. Nothing was changed. Accepted ",
        ),
        (["--list", "site_tag"], "`accept --list` takes no name"),
        (["--revoke", "site_tag", "--why", "x"], "--why is said when something is accepted."),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    shop: Packages, db: Db, sql: Sql, words: list[str], said: str
) -> None:
    ran = db("accept", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert sql("SELECT to_regclass('pixsim_accepted')") == [(None,)]


def test_a_name_is_understood_as_verify_says_it_and_asked_about_if_two_have_it(
    shop: Packages, db: Db, sql: Sql
) -> None:
    sql("ALTER TABLE shop_pen ADD site_index int")
    ran = db("accept", "site_index")
    assert ran.code == 2
    assert ran.err == (
        "site_index may mean column shop_pen.site_index, index site_index of shop_pen. Nothing was "
        "changed. Say which, in quotes.\n"
    )
    # Without quotes, and with the colon that `verify` writes after it.
    assert db("accept", *INDEX.split()).code == 0
    assert db("accept", f"{TAG}:", "--json").json == {"accepted": [TAG], "already": []}
    assert db("accept", TAG).out == f"Accepted already: {TAG}\n"
    assert db("accept", TAG, "--json").json == {"accepted": [], "already": [TAG]}


def test_a_table_that_differs_in_two_ways_has_one_name(shop: Packages, db: Db, sql: Sql) -> None:
    db("accept", TAG, INDEX, "name")
    sql("ALTER TABLE shop_pen SET UNLOGGED; ALTER TABLE shop_pen ENABLE ROW LEVEL SECURITY")
    assert drift(db) == ["table shop_pen.shop_pen"] * 2
    assert db("accept", "table shop_pen", "--json").json["accepted"] == ["table shop_pen"]
    assert drift(db) == []
    sql("ALTER TABLE shop_pen SET LOGGED")
    assert drift(db) == ["table shop_pen.shop_pen"]


def test_a_migration_that_renames_the_table_takes_its_accepted_columns_along(
    shop: Packages, db: Db
) -> None:
    db("accept", TAG, INDEX, "name")
    shop.write(
        "shop", "0002_quill", migration('migrations.RenameModel("Pen", "Quill")', depends=FIRST)
    )
    call_command("migrate", database=ALIAS, verbosity=0)
    ran = db("verify")
    assert ran.code == 0, ran.out
    assert "Known: column shop_quill.site_tag: expected nothing, found text, null, no default " in (
        ran.out
    )
    assert f"(accepted as {TAG} 20" in ran.out
    call_command("migrate", "shop", "0001", database=ALIAS, verbosity=0)
    assert db("verify").code == 0


def test_a_migration_that_makes_a_column_of_that_name_ends_it(shop: Packages, db: Db) -> None:
    db("accept", TAG, INDEX, "name")
    text = adds("Pen", "site_tag", "models.IntegerField(null=True)", depends=FIRST)
    shop.write("shop", "0002_tag", text)
    call_command("migrate", fake=True, database=ALIAS, verbosity=0)
    ran = db("verify")
    assert ran.code == 1
    assert ran.out.startswith(f"{TAG}: expected integer, found text\n")


def test_any_kind_of_difference_is_accepted_by_the_name_that_verify_gives_it(
    shop: Packages, db: Db, sql: Sql
) -> None:
    db("accept", TAG, INDEX, "name")
    view = "CREATE VIEW pens AS SELECT id FROM shop_pen; CREATE SEQUENCE pen_numbers"
    shop.write("shop", "0002_view", migration(f'migrations.RunSQL("{view}")', depends=FIRST))
    call_command("migrate", database=ALIAS, verbosity=0)
    sql(
        "CREATE OR REPLACE VIEW pens AS SELECT id FROM shop_pen WHERE id > 0;"
        " ALTER SEQUENCE pen_numbers INCREMENT 2;"
        " ALTER TABLE shop_pen SET (fillfactor = 70); ALTER TABLE shop_pen ADD CHECK (id > 0);"
        " CREATE TRIGGER site_trigger BEFORE UPDATE ON shop_pen FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    )
    names = [
        line.partition(": expected ")[0]
        for line in db("verify").out.splitlines()
        if not line.startswith(("Known: ", "Not of any migration"))
    ]
    assert [name.split()[0] for name in sorted(names)] == [
        "constraint", "sequence", "storage", "trigger", "view"
    ]  # fmt: skip
    assert db("accept", *names).code == 0
    assert drift(db) == []
    assert db("accept", "--revoke", *names).code == 0
    assert len(drift(db)) == 5


def test_stamping_asks_only_about_what_nobody_accepted(shop: Packages, db: Db, sql: Sql) -> None:
    sql("DELETE FROM django_migrations")
    sql("CREATE TABLE stays (id int)")
    db("stamp", "head", "--yes", "--force")
    db("accept", TAG, INDEX, "name")
    sql("DELETE FROM django_migrations")
    ran = db("stamp", "head", "--yes")
    assert ran.code == 0, ran.out
    assert drift(db) == []


def test_backup_restore_and_wipe_carry_it(shop: Packages, db: Db, tmp_path: Path) -> None:
    db("accept", TAG, INDEX, "name")
    before = db("accept", "--list", "--json").json
    file = str(tmp_path / "shop.dump")
    assert db("backup", file).code == 0
    assert db("wipe", "--yes-really", connections[ALIAS].settings_dict["NAME"]).code == 0
    assert db("accept", "--list").out == "Nothing is accepted.\n"
    assert db("restore", file).code == 0
    assert db("accept", "--list", "--json").json == before
    assert drift(db) == []


@pytest.mark.parametrize("how", ["template", "dump"])
def test_a_rehearsal_carries_it(shop: Packages, db: Db, sql: Sql, how: str) -> None:
    db("accept", TAG, INDEX, "name")
    shop.write(
        "shop", "0002_note", adds("Pen", "note", "models.TextField(null=True)", depends=FIRST)
    )
    with psycopg.connect(scratch_url()) as other:
        if how == "dump":
            other.execute("SELECT 1")
        else:
            other.close()
        answer = db("rehearse", "--keep", "--json").json
    copy = answer["copy"]["kept_as"]
    assert answer["copy"]["how"] == how
    connection = connections[ALIAS]
    connection.close()
    connection.settings_dict["NAME"] = copy
    try:
        assert db("verify").code == 0
        assert len(db("accept", "--list", "--json").json["accepted"]) == 3
    finally:
        connection.close()
        connection.settings_dict["NAME"] = NAME
        sql(f'DROP DATABASE "{copy}"')


def test_the_table_is_nobodys_drift_and_no_unknown_table(shop: Packages, db: Db) -> None:
    db("accept", TAG, INDEX, "name")
    assert db("verify", "--json").json["unknown_tables"] == ["visitors"]
    assert "pixsim_accepted" not in db("schema").out
