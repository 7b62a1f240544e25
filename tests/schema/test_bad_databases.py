"""A database that does not answer, or not as it should: one message each, and no traceback."""

import errno
import io
import os
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, ProgrammingError, connections
from django.db.migrations.recorder import MigrationRecorder

from pixsim.core import cli
from pixsim.schema.connecting import ServerTooOld, explain, refuse_old
from pixsim.schema.refusals import refusal_code
from pixsim.schema.verbs import all_verbs
from tests.schema.packages import Packages, creates, migration


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    """One migration applied, one whose file is gone, one pending."""
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_gone": migration(depends=[("shop", "0001_initial")]),
        },
    )
    call_command("migrate", database="scratch", verbosity=0)
    packages.remove("shop", "0002_gone")
    return packages


@pytest.fixture
def settings_of(shop):
    """Change how the scratch database is connected to, for this test."""
    connection = connections["scratch"]
    before = dict(connection.settings_dict)

    def change(**values) -> None:
        connection.close()
        connection.settings_dict.update(values)

    yield change
    connection.close()
    connection.settings_dict.update(before)


@pytest.fixture
def role(shop, sql):
    """A role that may connect and nothing else; its name."""
    sql("DROP ROLE IF EXISTS pixsim_nobody")
    sql("CREATE ROLE pixsim_nobody LOGIN PASSWORD 'right'")
    yield "pixsim_nobody"
    connections["scratch"].close()
    connections["scratch"].settings_dict["USER"] = connections["default"].settings_dict["USER"]
    connections["scratch"].settings_dict["OPTIONS"].pop("options", None)
    sql("DROP OWNED BY pixsim_nobody")
    sql("DROP ROLE pixsim_nobody")


def one_message(ran, *parts: str, code: int = 1) -> None:
    """The run ended with `code` and a single line that has all `parts`."""
    assert ran.code == code, ran.out + ran.err
    assert ran.err.count("\n") == 1, ran.err
    for part in parts:
        assert part in ran.err
    assert "Traceback" not in ran.out + ran.err


VERBS = [["history"], ["prune", "--yes"]]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_server_that_is_down(settings_of, db, words) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings_of(HOST="127.0.0.1", PORT=str(taken.getsockname()[1]))

        ran = db(*words)

    one_message(ran, "No PostgreSQL answers at 'pixsim_scratch_", "Connection refused. Start it")


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_database_that_does_not_exist(settings_of, db, words) -> None:
    settings_of(NAME="pixsim_nowhere")

    one_message(db(*words), "There is no database 'pixsim_nowhere' on this server", "`createdb`")


def test_a_host_that_nobody_knows(settings_of, db) -> None:
    settings_of(HOST="nowhere.invalid")

    one_message(db("history"), "No PostgreSQL answers at", "failed to resolve host")


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"NAME": "pixsim_nowhere"}, "3D000"), ({"USER": "pixsim_stranger"}, "28000"), ({}, "")],
)
def test_the_code_of_a_refused_connection_is_known_in_any_language(
    settings_of, changed, code
) -> None:
    settings_of(**changed)

    assert refusal_code(connections["scratch"]) == code


def test_a_role_that_does_not_exist(settings_of, db) -> None:
    settings_of(USER="pixsim_stranger")

    one_message(db("history"), "'pixsim_stranger' may not connect", "does not exist")


@pytest.fixture
def strict_server():
    """The port of a server that asks each client for a password and then refuses it."""
    error = b'SFATAL\0C28P01\0Mpassword authentication failed for user "ada"\0\0'
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse_all() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        while client.recv(4096)[4:8] == b"\x04\xd2\x16\x2f":  # SSLRequest
                            client.sendall(b"N")
                        client.sendall(b"R" + struct.pack("!II", 8, 3))  # a plain password, please
                        client.recv(4096)
                        client.sendall(b"E" + struct.pack("!I", 4 + len(error)) + error)

        thread = threading.Thread(target=refuse_all)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_wrong_password(strict_server, settings_of, db, words) -> None:
    settings_of(HOST="127.0.0.1", PORT=strict_server, USER="ada", PASSWORD="hunter2")

    ran = db(*words)

    one_message(
        ran,
        "The password of 'ada' is wrong or missing",
        "Put the right one into DATABASE_URL.",
    )
    assert "hunter2" not in ran.err


def test_a_missing_password(strict_server, settings_of, db) -> None:
    settings_of(HOST="127.0.0.1", PORT=strict_server, USER="ada", PASSWORD="")

    one_message(db("history"), "The password of 'ada' is wrong or missing")


def test_status_says_why_it_is_not_reachable(settings_of, db) -> None:
    settings_of(NAME="pixsim_nowhere", PASSWORD="hunter2")

    ran = db("status")
    assert ran.code == 1
    assert "Reachable    no. There is no database 'pixsim_nowhere' on this server" in ran.out
    answer = db("status", "--json")
    assert answer.json["database"]["reachable"] is False
    assert "There is no database" in answer.json["database"]["why"]
    assert "hunter2" not in ran.out + ran.err + answer.out + answer.err


def test_the_message_is_the_json_object_of_a_failure(settings_of, db) -> None:
    settings_of(NAME="pixsim_nowhere")

    ran = db("history", "--json")

    assert ran.json["exit_code"] == 1
    assert ran.json["error"].startswith("There is no database 'pixsim_nowhere'")


def test_a_role_without_rights(role, settings_of, db) -> None:
    settings_of(USER=role)

    one_message(
        db("history"),
        "'pixsim_nobody' may not do this",
        "permission denied for table django_migrations",
        "have the owner GRANT it",
    )


def test_a_role_that_may_only_read(role, settings_of, db, sql) -> None:
    sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    settings_of(USER=role)

    assert db("history").code == 0
    assert db("status").code == 1
    one_message(db("prune", "--yes"), "permission denied for table django_migrations")
    settings_of(USER=connections["default"].settings_dict["USER"])
    assert sql("SELECT count(*) FROM django_migrations") == [(2,)]


def test_a_read_only_database_can_be_read_and_not_written(settings_of, db, sql) -> None:
    name = connections["scratch"].settings_dict["NAME"]
    sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    settings_of()

    assert ", read-only\n" in db("status").out
    assert db("status", "--json").json["database"]["read_only"] is True
    one_message(db("prune", "--yes"), "is read-only: a replica, or", "Name the primary")
    assert sql("SELECT count(*) FROM django_migrations") == [(2,)]


def test_other_commands_say_it_in_one_line_too(role, settings_of, sql) -> None:
    settings_of(USER=role)
    with pytest.raises(CommandError) as refused, cli.database_errors("No job was created."):
        sql("SELECT * FROM shop_book")
    assert str(refused.value) == (
        "No job was created. The user of DATABASE_URL may not do this: permission denied for table "
        "shop_book. Name the owner of the tables there, or have the owner GRANT it."
    )
    sql("SET default_transaction_read_only = on")
    said = r"^The database is read-only: cannot execute CREATE TABLE"
    with pytest.raises(CommandError, match=said), cli.database_errors():
        sql("CREATE TABLE mine (id int)")


# Each verb, with words that let it go as far as it can.
EACH_VERB = {
    "accept": [["book"], ["--revoke", "book"]],
    "adopt": [[], ["--apply", "--yes"], ["--undo", "--yes"]],
    "backfill": [["list"], ["run", "nothing_like_it"]],
    "backup": [["{folder}"]],
    "check": [[]],
    "downgrade": [["shop", "zero", "--yes"]],
    "heads": [[]],
    "branches": [[]],
    "history": [[]],
    "merge": [["shop"]],
    "prune": [["--yes"]],
    "rehearse": [[]],
    "restore": [["{folder}/none.dump"]],
    "revision": [["-m", "nothing", "shop"]],
    "schema": [[]],
    "show": [["shop", "0001"]],
    "sql": [["shop", "0001"]],
    "stamp": [["zero", "--force", "--yes"]],
    "status": [[]],
    "upgrade": [[]],
    "verify": [[]],
    "wipe": [["--yes-really", "{name}"]],
}


def test_each_verb_is_tried_below() -> None:
    aliases = {alias for verb in all_verbs() for alias in verb.aliases}
    assert (
        {verb.name for verb in all_verbs()}
        <= EACH_VERB.keys()
        <= ({verb.name for verb in all_verbs()} | aliases)
    )


@pytest.mark.parametrize("how", ["without rights", "read-only", "no schema", "nowhere"])
def test_every_verb_says_in_words_why_it_cannot(role, settings_of, db, sql, tmp_path, how) -> None:
    name = connections["scratch"].settings_dict["NAME"]
    changes = {"without rights": {"USER": role}, "nowhere": {"NAME": "pixsim_nowhere"}}
    if how == "read-only":
        sql("DELETE FROM django_migrations WHERE name = '0001_initial'")  # so that it is pending
        sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    if how == "no schema":
        sql(f'ALTER DATABASE "{name}" SET search_path = nothing_like_it')
    settings_of(**changes.get(how, {}))
    for verb, lines in EACH_VERB.items():
        for words in lines:
            given = [word.format(folder=tmp_path, name=name) for word in words]
            ran = db(verb, *given)
            assert ran.code in (0, 1, 2), (verb, ran.out, ran.err)
            assert "Traceback" not in ran.out + ran.err
            assert ran.code == 0 or ran.out + ran.err, verb
    if how == "read-only":
        sql("SET default_transaction_read_only = off")
        sql(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def test_an_alias_that_does_not_exist(shop, db, capsys) -> None:
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("db", "status", "--database", "nobody", stdout=out, stderr=err)

    assert ended.value.code == 2
    assert err.getvalue().startswith("There is no database 'nobody'; there is: default, ")


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_answer_that_cannot_be_written_is_one_message() -> None:
    err = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("db", "heads", "--json", stdout=Full(), stderr=err)

    assert ended.value.code == 1
    assert err.getvalue() == (
        "[Errno 28] No space left on device. What was committed before stays.\n"
    )


@pytest.mark.parametrize(
    "url", ["hunter2", "postgre://me:hunter2@here/name", "postgres://me:hunt/er2@here:5432/name"]
)
def test_a_url_that_is_none_is_one_message_without_the_password(url) -> None:
    ran = subprocess.run(
        [sys.executable, "manage.py", "db", "status"],
        env={**os.environ, "DATABASE_URL": url, "PIXSIM_ENV_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1
    assert ran.stderr.startswith(
        "Settings: DATABASE_URL must name a PostgreSQL database: postgres://user:password@host"
    )
    assert ran.stderr.count("\n") == 1
    assert "hunt" not in ran.stdout + ran.stderr


def test_a_server_that_is_too_old(shop, db, monkeypatch) -> None:
    refuse_old(140000)
    with pytest.raises(ServerTooOld, match="The server is PostgreSQL 13; 14 is the oldest"):
        refuse_old(130018)

    connection = connections["scratch"]
    for words in (["status"], *VERBS):
        connection.close()
        # Django looks once per process and alias.
        monkeypatch.setattr("django.db.backends.base.base.RAN_DB_VERSION_CHECK", set())
        monkeypatch.setitem(connection.__dict__, "pg_version", 130018)
        ran = db(*words)
        assert ran.code == 1
        assert "The server is too old" in ran.out + ran.err
        assert "(found 13.18). Nothing was changed. Upgrade it" in ran.out + ran.err
        assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (psycopg.errors.DiskFull, OperationalError, "The disk of the server is full"),
        (psycopg.errors.OutOfMemory, OperationalError, "has not enough memory"),
        (psycopg.errors.LockNotAvailable, OperationalError, "A lock was not given in time"),
        (psycopg.errors.TooManyConnections, OperationalError, "takes no more connections"),
        (psycopg.errors.CannotConnectNow, OperationalError, "is starting or stopping"),
        (psycopg.errors.AdminShutdown, OperationalError, "The connection was lost"),
        (psycopg.errors.UndefinedTable, ProgrammingError, "is not as the code expects it"),
        (psycopg.errors.DuplicateTable, ProgrammingError, "has already what was to be made: so"),
        (psycopg.errors.DuplicateColumn, ProgrammingError, "`manage.py db stamp` writes it."),
        (psycopg.errors.SyntaxError, ProgrammingError, "Database 'pixsim_scratch_"),
        (psycopg.errors.QueryCanceled, OperationalError, "SET statement_timeout = 0"),
        (
            psycopg.errors.IdleInTransactionSessionTimeout,
            OperationalError,
            "SET idle_in_transaction_session_timeout = 0",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_the_server_says_later_is_explained(
    database, cause: type[Exception], kind: type[DatabaseError], message: str
) -> None:
    error = kind("so it was\nLINE 1: SELECT")
    error.__cause__ = cause("so it was")

    said = explain(error, connections[database])

    assert message in said
    assert "so it was" in said or kind is OperationalError
    assert "\n" not in said


def test_detail_and_hint_of_the_server_are_shown(database, sql) -> None:
    sql("CREATE TABLE base (id int PRIMARY KEY)")
    sql("CREATE VIEW above AS SELECT id FROM base")
    with pytest.raises(DatabaseError) as caught:
        sql("DROP TABLE base")

    said = explain(caught.value, connections[database])

    assert "view above depends on table base" in said
    assert "Use DROP ... CASCADE to drop the dependent objects too" in said


def test_who_may_make_nothing_in_the_schema_is_told_the_grant(role, sql, db) -> None:
    sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC; DROP TABLE django_migrations")
    connections["scratch"].close()
    connections["scratch"].settings_dict["USER"] = role
    sql("SET ROLE NONE")
    with pytest.raises(DatabaseError) as caught:
        sql("CREATE TABLE own (id int)")

    said = explain(caught.value, connections["scratch"])

    assert f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}";' in said
    # What Django itself says of its table is not the server's sentence.
    with pytest.raises(DatabaseError) as caught:
        MigrationRecorder(connections["scratch"]).ensure_schema()
    said = explain(caught.value, connections["scratch"])
    assert f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}";' in said


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres"])
def test_dates_are_read_in_any_style_of_the_database(shop, sql, db, style) -> None:
    before = db("history")
    sql(f"ALTER DATABASE {connections['scratch'].settings_dict['NAME']} SET datestyle = {style!r}")
    connections["scratch"].close()

    ran = db("history")

    assert (ran.code, ran.out) == (before.code, before.out)
    assert sql("SHOW datestyle") == [("ISO, MDY",)]


def test_time_limits_of_the_role_are_lifted_and_told(shop, sql, db) -> None:
    shop.remove("shop", "0001_initial")
    shop.add("slow", {"0001_initial": SLOW})
    name = connections["scratch"].settings_dict["NAME"]
    sql(f"ALTER DATABASE {name} SET statement_timeout = '150ms'")
    sql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'")
    connections["scratch"].close()

    ran = db("upgrade", "slow")

    assert ran.code == 0, ran.err
    assert "Lifted for this run: " in ran.out
    assert "statement_timeout = 150ms" in ran.out
    assert sql("SHOW statement_timeout") == [("150ms",)]


SLOW = migration(
    """migrations.RunSQL("SELECT pg_sleep(0.4)", "SELECT 1"),
    migrations.RunPython(lambda apps, editor: __import__("time").sleep(0.5), lambda *_: None),"""
)


def test_a_connection_that_is_cut_is_explained(database, sql) -> None:
    with pytest.raises(OperationalError) as caught:
        sql("SELECT pg_terminate_backend(pg_backend_pid())")

    said = explain(caught.value, connections[database])
    connections[database].close()

    assert said.startswith("The connection was lost")
    assert said.endswith("look with `manage.py db status`.")
