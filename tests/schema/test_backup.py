"""`db backup`: complete and checked, or no file of that name."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
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
def shop(packages: Packages, database: str, sql: Sql) -> Packages:
    """A database with 1,000 books, and a table with a name that must be quoted."""
    packages.add("shop", {"0001_initial": creates("Book")})
    call_command("migrate", database=database, verbosity=0)
    sql("INSERT INTO shop_book (name) SELECT 'book ' || n FROM generate_series(1, 1000) AS n")
    sql('CREATE SCHEMA "Back room"; CREATE TABLE "Back room"."Odd.one" AS SELECT 7')
    return packages


@pytest.fixture
def locked(shop: Packages) -> Iterator[psycopg.Connection[Any]]:
    """A client that keeps pg_dump waiting at the books until it rolls back."""
    with psycopg.connect(scratch_url()) as client:
        client.execute("LOCK TABLE shop_book IN ACCESS EXCLUSIVE MODE")
        yield client


def dumper_waits(sql: Sql) -> bool:
    return bool(
        sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"
        )
    )


def test_a_backup_is_a_dump_and_a_manifest_that_says_what_is_in_it(
    shop: Packages, db: Db, tmp_path: Path
) -> None:
    file = tmp_path / "shop.dump"

    ran = db("backup", str(file))

    assert (ran.code, ran.err) == (0, "")
    manifest = json.loads((tmp_path / "shop.dump.manifest.json").read_text())
    assert (
        manifest["tables"].items()
        >= {
            '"Back room"."Odd.one"': 1,
            "public.django_migrations": 1,
            "public.shop_book": 1000,
        }.items()
    )
    assert manifest["migrations"] == ["shop.0001_initial"]
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert manifest["size"] == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    said = ran.out.splitlines()
    assert said[0].startswith(f"Wrote {file}: ")
    count, rows = len(manifest["tables"]), sum(manifest["tables"].values())
    assert said[0].endswith(f" {count} tables, {rows:,} rows, 1 migrations.")
    assert said[-1] == f"Back with `manage.py db restore {file}`, into an empty database."
    assert not list(tmp_path.glob("*.partial"))


def test_without_a_name_it_is_named_after_database_and_time_and_what_killed_ones_left_goes(
    shop: Packages, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = connections["scratch"].settings_dict["NAME"]
    left = Path(f"{name}-20260102-030405.dump.partial")
    others = [
        Path(f"{name}-20260102-030406.dump.partial"),
        Path("mine-20260102-030405.dump.partial"),
    ]
    for each in (left, *others):
        each.touch()
    with others[0].open("r+b") as written_now:
        fcntl.flock(written_now, fcntl.LOCK_EX)
        ran = db("backup", "--json")
    assert ran.json["file"].startswith(f"{name}-20")
    assert Path(ran.json["file"]).is_file()
    assert ran.err.startswith(
        f"An earlier backup to {left.with_suffix('')} did not end; what it left is gone.\nWrote "
    )
    assert set(Path().glob("*.partial")) == set(others)


def test_a_file_that_is_there_is_not_written_over(shop: Packages, db: Db, tmp_path: Path) -> None:
    file = tmp_path / "shop.dump"
    file.write_text("precious")
    ran = db("backup", str(file))
    assert ran.code == 1
    assert ran.err == f"{file} is there already and is not written over. Name another file.\n"
    assert file.read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(shop: Packages, db: Db, tmp_path: Path) -> None:
    part = tmp_path / "nowhere" / "shop.dump.partial"
    ran = db("backup", str(tmp_path / "nowhere" / "shop.dump"))
    assert ran.code == 1
    assert ran.err == (
        f"{part} cannot be written: No such file or directory. Nothing was changed.\n"
    )


def test_a_full_disk_leaves_nothing_that_looks_like_a_backup(
    shop: Packages, db: Db, tmp_path: Path
) -> None:
    (tmp_path / "shop.dump.partial").symlink_to("/dev/full")
    ran = db("backup", str(tmp_path / "shop.dump"))
    assert ran.code == 1
    assert ran.err == (
        f"The backup could not be written to {tmp_path}: No space left on device. Nothing of it "
        f"was kept, and the database is as it was. Free space or name another folder.\n"
    )
    assert not list(tmp_path.glob("shop.dump*"))


def test_rows_that_come_meanwhile_are_neither_in_the_dump_nor_counted(
    shop: Packages, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is written between pg_dump's end and the counting."""
    import pixsim.schema.dumps as dumps

    dump = dumps._dump

    def dump_and_write(*given: Any) -> Any:
        done = dump(*given)
        with psycopg.connect(scratch_url(), autocommit=True) as other:
            other.execute("INSERT INTO shop_book (name) VALUES ('late')")
        return done

    monkeypatch.setattr(dumps, "_dump", dump_and_write)
    assert db("backup", str(tmp_path / "f"), "--json").json["tables"]["public.shop_book"] == 1000


def test_killed_it_leaves_no_file_of_the_name_and_the_next_run_says_so(
    locked: psycopg.Connection[Any], db: Db, sql: Sql, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "shop.dump"
    where = connections["scratch"].settings_dict
    bare = f"//{where['USER']}"
    with_password = scratch_url().replace(f"{bare}@", f"{bare}:s3cret@")
    runner = start("backup", str(file), env={"DATABASE_URL": with_password})
    wait_until(lambda: dumper_waits(sql))

    commands = [" ".join(child.cmdline()) for child in psutil.Process(runner.pid).children()]
    assert len(commands) == 1
    assert "pg_dump" in commands[0]
    assert "s3cret" not in commands[0]
    second = db("backup", str(file))
    assert second.code == 1
    assert second.err == f"Another backup is writing {file}.partial now. Nothing was changed.\n"
    runner.kill()
    runner.communicate()
    assert [path.name for path in tmp_path.glob("shop.dump*")] == ["shop.dump.partial"]
    refused = db("restore", f"{file}.partial")
    assert refused.code == 1
    assert refused.err.startswith(f"{file}.partial is what a backup left that did not end.")

    locked.rollback()
    ran = db("backup", str(file))
    assert ran.code == 0, ran.err
    assert ran.out.startswith(
        f"An earlier backup to {file} did not end; what it left is gone.\nWrote {file}: "
    )
    assert not list(tmp_path.glob("*.partial"))


def test_a_table_that_may_not_be_read_is_named(
    shop: Packages, db: Db, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql("DROP ROLE IF EXISTS pixsim_test_reader")
    sql("CREATE ROLE pixsim_test_reader LOGIN PASSWORD 'reader'")
    where = connections["scratch"].settings_dict
    connections["scratch"].close()
    monkeypatch.setitem(where, "USER", "pixsim_test_reader")
    monkeypatch.setitem(where, "PASSWORD", "reader")
    ran = db("backup", str(tmp_path / "shop.dump"))
    connections["scratch"].close()
    monkeypatch.undo()
    sql("DROP ROLE pixsim_test_reader")
    assert ran.code == 1
    assert "failed: permission denied" in ran.err
    assert ran.err.endswith("Nothing of the backup was kept.\n")
    assert not list(tmp_path.glob("shop.dump*"))


def test_programs_older_than_the_server_are_refused_by_name(
    shop: Packages, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "bin"
    old.mkdir()
    (old / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    (old / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{old}{os.pathsep}/bin")
    monkeypatch.setattr(programs, "SERVER_FOLDERS", ())
    monkeypatch.setattr(programs, "WHEELS", ())

    ran = db("backup", str(tmp_path / "shop.dump"))

    assert ran.code == 1
    major = connections["scratch"].connection.info.server_version // 10_000
    assert ran.err.startswith(
        f"pg_dump {major} or newer is needed, and there is 9.6.24 ({old / 'pg_dump'}). Looked in "
    )
    assert not list(tmp_path.glob("shop.dump*"))
