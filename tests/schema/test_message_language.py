"""A server that speaks another language than English: nothing depends on the words of its messages."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from tests.schema.installed_server import InstalledServer, alias_on
from tests.schema.packages import Packages, adds, creates
from tests.scratch import ALIAS, Ran

pytestmark = pytest.mark.long
Db = Callable[..., Ran]
LANGUAGE = "de_DE.UTF-8"


class German(InstalledServer):
    """A server whose messages are German; `guest` may log in and nothing else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, options=f"-c lc_messages={LANGUAGE}")

    def start(self) -> None:
        if not shutil.which("localedef"):
            pytest.skip("no localedef, so no German locale can be made")
        language = ["localedef", "-i", "de_DE", "-f", "UTF-8", self.folder / LANGUAGE]
        if subprocess.run(language, check=False, capture_output=True).returncode:
            pytest.skip("localedef cannot make de_DE.UTF-8 here")
        super().start()
        with self.connect() as dba:
            if dba.execute("SHOW lc_messages").fetchone() != (LANGUAGE,):
                pytest.skip("the server does not take the German locale")
            with pytest.raises(psycopg.Error) as caught:
                dba.execute("SELECT nothing")
            if "existiert nicht" not in str(caught.value):
                pytest.skip("the installed PostgreSQL has no German messages")
            dba.execute("CREATE ROLE guest LOGIN")


@pytest.fixture(scope="module")
def german(django_db_blocker: Any) -> Iterator[German]:
    folder = Path(tempfile.mkdtemp(prefix="de-", dir="/tmp"))
    server = German(folder)
    try:
        server.start()
        with django_db_blocker.unblock():
            yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def shop(german: German, packages: Packages) -> Iterator[Packages]:
    """A project on a database of that server, which `app` owns."""
    with german.connect() as dba:
        dba.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
        dba.execute("CREATE DATABASE shop OWNER app")
    with alias_on(german, "shop"):
        packages.add("shop", {"0001_initial": creates("Pen")})
        yield packages


NOTE = adds("Pen", "note", "models.TextField(null=True)", depends=[("shop", "0001_initial")])


def test_every_verb_does_what_it_does_in_english(
    shop: Packages, db: Db, german: German, tmp_path: Path
) -> None:
    dump = str(tmp_path / "shop.dump")
    assert db("upgrade").code == 0
    shop.write("shop", "0002_note", NOTE)
    with german.connect("shop"):  # so that it is dumped and loaded
        assert db("rehearse", "--json").json["copy"]["how"] == "dump"
    for words in (
        ["rehearse"],
        ["upgrade"],
        ["verify"],
        ["backup", dump],
        ["downgrade", "-1", "--yes"],
        ["stamp", "zero", "--force", "--yes"],
        ["wipe", "--yes-really", "shop"],
        ["restore", dump],
        ["status"],
        ["history"],
        ["verify"],
    ):
        ran = db(*words)
        assert ran.code == 0, (words, ran.out, ran.err)


@pytest.mark.parametrize(
    ("name", "user", "said"),
    [
        ("nowhere", "app", "There is no database 'nowhere' on this server"),
        ("postgres", "stranger", "'stranger' may not connect"),
        ("closed", "guest", "'guest' may not connect"),
    ],
)
def test_a_refused_connection_is_explained(
    german: German, db: Db, name: str, user: str, said: str
) -> None:
    with german.connect() as dba:
        dba.execute("DROP DATABASE IF EXISTS closed")
        dba.execute("CREATE DATABASE closed OWNER app")
        dba.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    with alias_on(german, name, user=user):
        ran = db("history")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith(said)


def test_who_may_make_nothing_in_the_schema_is_told_the_grant(
    shop: Packages, db: Db, german: German
) -> None:
    with german.connect("shop") as dba:
        dba.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        dba.execute("ALTER SCHEMA public OWNER TO dba")
    grant = 'GRANT USAGE, CREATE ON SCHEMA public TO "app";'
    ran = db("upgrade")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert grant in ran.err
    with pytest.raises(CommandError) as refused:
        call_command("migrate", database=ALIAS, verbosity=0)
    assert grant in str(refused.value)


def test_what_is_there_already_and_what_one_may_not_read_is_said(
    shop: Packages, db: Db, german: German, tmp_path: Path
) -> None:
    assert db("upgrade").code == 0
    shop.write("shop", "0002_note", NOTE)
    with german.connect("shop") as dba:
        dba.execute("ALTER TABLE shop_pen ADD note text")
    ran = db("upgrade")
    assert ran.code == 1
    assert "has already what was to be made: Spalte »note«" in ran.err
    connections[ALIAS].close()
    connections[ALIAS].settings_dict["USER"] = "guest"
    assert "'guest' may not do this" in db("history").err
    backup = db("backup", str(tmp_path / "never.dump"))
    assert " failed: keine Berechtigung für Tabelle" in backup.err


def test_a_restore_that_lacks_a_role_or_a_right_names_the_option(
    shop: Packages, db: Db, german: German, tmp_path: Path
) -> None:
    assert db("upgrade").code == 0
    with german.connect("shop") as dba:
        dba.execute("CREATE ROLE gone")
        dba.execute("ALTER TABLE shop_pen OWNER TO gone")
        dba.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO app")
        dba.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app")
        dump = str(tmp_path / "shop.dump")
        assert db("backup", dump).code == 0
        dba.execute("ALTER TABLE shop_pen OWNER TO app")
    assert db("wipe", "--yes-really", "shop").code == 0
    ran = db("restore", dump)
    assert ran.code == 1
    assert "Berechtigung nur für Mitglied von Rolle »gone«" in ran.err
    assert "Connect as its member, or leave owners and grants out with --no-owner." in ran.err
    with german.connect("shop") as dba:
        dba.execute("DROP OWNED BY gone")
        dba.execute("DROP ROLE gone")
    ran = db("restore", dump)
    assert ran.code == 1
    assert "Rolle »gone« existiert nicht" in ran.err
    assert "Make that role, or leave owners and grants out with --no-owner." in ran.err
    assert db("restore", dump, "--no-owner").code == 0
