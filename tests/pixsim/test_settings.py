import json
import logging
import re
import secrets
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pixsim.environment import kept_secret
from pixsim.logs import RedactingFormatter
from tests.pixsim.support import PRODUCTION, PROJECT, environment, manage, run_python

SHOW = """
import json
from django.conf import settings as s
print(json.dumps({
    "debug": s.DEBUG, "database": s.DATABASES["default"], "secret_key": s.SECRET_KEY,
    "direct": s.DATABASE_DIRECT,
    "credentials_keys": s.CREDENTIALS_KEYS, "storage": s.STORAGES["blobs"], "broker":
    s.CELERY_BROKER_URL, "embedded": s.EMBEDDED_SERVICES,
}))
"""
CHILD = """
import subprocess, sys
subprocess.run([sys.executable, "manage.py", "check"], check=True)
"""
RING = """
import time
from pixsim.celery import app as celery_app
def ring():
    start = time.monotonic()
    try:
        celery_app.send_task("jobs.work", retry=False)
    except Exception:
        return time.monotonic() - start
    raise SystemExit("The message was sent.")
print(max(ring() for _ in range(3)))
"""
WITHOUT_POSIX = """
import os, signal, socket, sys
import celery.app.base, celery.signals, django.core.management, psycopg  # know Windows by themselves
for module in ("fcntl", "pwd", "grp", "resource", "termios", "uvloop", "cv2", "pyarrow"):
    sys.modules[module] = None
del signal.SIGKILL, signal.SIGQUIT, socket.AF_UNIX, os.fork, os.register_at_fork
"""


def settings_of(home: Path, **variables: str) -> dict:
    done = run_python(SHOW, environment(home, **variables))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "SECRET_KEY", "CREDENTIALS_KEYS", "ALLOWED_HOSTS"]
)
def test_production_refuses_to_start_without_what_it_needs(tmp_path: Path, name: str) -> None:
    done = manage("check", env=environment(tmp_path, **{**PRODUCTION, name: ""}))

    assert done.returncode == 1
    assert f"{name} is not set, and DEBUG is off" in done.stderr
    assert ".env.example" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_check_deploy_is_clean_with_production_settings(tmp_path: Path) -> None:
    done = manage(
        "check", "--deploy", "--fail-level", "WARNING", env=environment(tmp_path, **PRODUCTION)
    )

    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


def test_naming_hosts_turns_debug_off(tmp_path: Path) -> None:
    production = {name: value for name, value in PRODUCTION.items() if name != "DEBUG"}

    assert settings_of(tmp_path, **production)["debug"] is False
    assert settings_of(tmp_path, DATABASE_URL=PRODUCTION["DATABASE_URL"])["debug"] is True


def test_development_makes_its_secrets_once_and_keeps_them_to_itself(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"

    first, second = settings_of(home), settings_of(home)

    assert first["secret_key"] == second["secret_key"] != ""
    assert first["credentials_keys"] == second["credentials_keys"] != []
    modes = [stat.S_IMODE(file.stat().st_mode) for file in home.iterdir() if file.is_file()]
    assert set(modes) == {0o600}


def test_processes_that_make_a_secret_at_once_agree_on_it(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / str(number)
        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(kept_secret, path, secrets.token_hex()) for _ in range(4)]
        assert len({each.result() for each in made}) == 1


def test_reading_the_settings_starts_no_service_and_makes_no_folder_for_one(tmp_path: Path) -> None:
    shown = settings_of(tmp_path)

    assert shown["embedded"][0] == "postgres"
    assert not (tmp_path / "embedded").exists()


def test_the_env_file_fills_what_the_environment_leaves_open(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("DATABASE_URL=postgres://a:b@db.example/shop\nDEBUG=true\n")

    shown = settings_of(tmp_path, PIXSIM_ENV_FILE=str(tmp_path / "env"), DATABASE_URL="")

    assert (shown["database"]["HOST"], shown["database"]["NAME"]) == ("db.example", "shop")
    assert "postgres" not in shown["embedded"]


def test_the_environment_wins_over_the_env_file_with_a_warning_that_shows_no_password(
    tmp_path: Path,
) -> None:
    (tmp_path / "env").write_text("DATABASE_URL=postgres://u:hidden1@db.example/old?passfile=x\n")
    variables = environment(
        tmp_path,
        PIXSIM_ENV_FILE=str(tmp_path / "env"),
        DATABASE_URL="postgres://u:hidden2@127.0.0.1:5432/new",
    )

    done = run_python(SHOW, variables)

    assert json.loads(done.stdout)["database"]["NAME"] == "new"
    assert "DATABASE_URL is set in the environment (postgres://…@127.0.0.1:5432/new)" in done.stderr
    assert "(postgres://…@db.example/old)" in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize("words", [["db", "status"], ["check"], []])
def test_a_command_warns_once_also_when_it_starts_another_process(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "env").write_text("DATABASE_URL=postgres://u:p@db.example/old\n")
    variables = environment(
        tmp_path,
        PIXSIM_ENV_FILE=str(tmp_path / "env"),
        DATABASE_URL="postgres://u:p@127.0.0.1:1/new",
    )

    done = manage(*words, env=variables) if words else run_python(CHILD, variables)

    said = done.stdout + done.stderr
    assert said.count("DATABASE_URL is set in the environment") == 1, said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["POSTGRES_PORT=5433"],
            "sets POSTGRES_PORT, which PixSim does not read, and nothing sets DATABASE_URL: write "
            "DATABASE_URL=postgres://USER:PASSWORD@127.0.0.1:5433/pixsim there.\n",
        ),
        (
            [
                *("POSTGRES_DB=shop", "POSTGRES_HOST=db", "POSTGRES_PASSWORD=hidden"),
                *("POSTGRES_USER=me", "DATABASE_URL="),
            ],
            "write DATABASE_URL=postgres://me:PASSWORD@db:5432/shop there.\n",
        ),
    ],
)
def test_parts_of_a_url_in_the_env_file_are_refused_with_what_to_write(
    tmp_path: Path, lines: list[str], said: str
) -> None:
    (tmp_path / "env").write_text("\n".join(lines))

    done = manage(
        "check", env=environment(tmp_path, PIXSIM_ENV_FILE=str(tmp_path / "env"), DATABASE_URL="")
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"Settings: {tmp_path}/env sets POSTGRES_")
    assert done.stderr.endswith(said)
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_parts_of_a_url_beside_a_whole_one_are_for_compose(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("POSTGRES_PORT=5433\nPOSTGRES_PASSWORD=p\n")
    given = environment(
        tmp_path,
        PIXSIM_ENV_FILE=str(tmp_path / "env"),
        DATABASE_URL="postgres://u:p@127.0.0.1:1/new",
    )

    done = manage("check", env=given)

    assert (done.returncode, done.stderr) == (0, "")


def test_an_empty_password_of_the_example_is_no_part_of_a_url(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("POSTGRES_PASSWORD=\n")

    shown = settings_of(tmp_path, PIXSIM_ENV_FILE=str(tmp_path / "env"), DATABASE_URL="")

    assert shown["embedded"][0] == "postgres"


def test_an_env_file_that_says_the_same_is_no_reason_to_warn(tmp_path: Path) -> None:
    url = "postgres://u:p@127.0.0.1:5432/new"
    (tmp_path / "env").write_text(f"DATABASE_URL={url}\n")

    done = run_python(
        SHOW, environment(tmp_path, PIXSIM_ENV_FILE=str(tmp_path / "env"), DATABASE_URL=url)
    )

    assert done.stderr == ""


def test_the_way_past_a_pooler_is_not_that_to_another_database(tmp_path: Path) -> None:
    (tmp_path / "env").write_text(
        "DATABASE_URL=postgres://u@pooler.example:6432/shop\n"
        "DATABASE_DIRECT_URL=postgres://u@db.example/shop\n"
    )
    file = {"PIXSIM_ENV_FILE": str(tmp_path / "env")}

    assert settings_of(tmp_path, **file)["direct"]["HOST"] == "db.example"
    elsewhere = settings_of(tmp_path, **file, DATABASE_URL="postgres://u@127.0.0.1/copy")
    assert elsewhere["direct"] is None


def test_a_direct_url_alone_and_one_that_is_wrong_are_refused_by_name(tmp_path: Path) -> None:
    direct = {"DATABASE_DIRECT_URL": "postgres://u:hidden@db.example/shop"}
    done = manage("check", env=environment(tmp_path, **direct))
    assert "DATABASE_DIRECT_URL is set, and DATABASE_URL is not." in done.stderr
    wrong = {
        "DATABASE_URL": "postgres://u@h/shop",
        "DATABASE_DIRECT_URL": "mysql://u:hidden@h/shop",
    }
    done = manage("check", env=environment(tmp_path, **wrong))
    assert "DATABASE_DIRECT_URL must name a PostgreSQL database" in done.stderr
    assert "hidden" not in done.stderr


def test_a_database_that_is_not_postgresql_is_refused(tmp_path: Path) -> None:
    done = manage("check", env=environment(tmp_path, DATABASE_URL="sqlite:///db.sqlite3"))

    assert "DATABASE_URL must name a PostgreSQL database" in done.stderr


def test_a_socket_folder_in_the_database_url_is_the_host(tmp_path: Path) -> None:
    shown = settings_of(tmp_path, DATABASE_URL="postgres://u@/name?host=/run/pg&sslmode=disable")

    assert shown["database"]["HOST"] == "/run/pg"
    assert shown["database"]["OPTIONS"]["sslmode"] == "disable"


def test_a_storage_url_puts_blobs_into_its_bucket(tmp_path: Path) -> None:
    shown = settings_of(tmp_path, PIXSIM_STORAGE_URL="s3://pictures/crawled/here")

    assert "s3" in shown["storage"]["BACKEND"]
    assert shown["storage"]["OPTIONS"]["bucket_name"] == "pictures"
    assert shown["storage"]["OPTIONS"]["location"] == "crawled/here"


def test_a_filesystem_broker_gets_its_folders(tmp_path: Path) -> None:
    settings_of(tmp_path, CELERY_BROKER_URL=f"filesystem://{tmp_path}/bell")

    assert (tmp_path / "bell" / "queue").is_dir()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("answering", ["refusing", "hanging"])
def test_ringing_a_dead_broker_fails_soon(tmp_path: Path, scheme: str, answering: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if answering == "hanging":
            listener.listen()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"

        done = run_python(RING, environment(tmp_path, CELERY_BROKER_URL=url))

    assert done.returncode == 0, done.stderr
    # Half a second on a machine with nothing else to do; never the transport's own minutes.
    assert float(done.stdout) < 3


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("no answer from redis://:pa55@host:6379/0", "no answer from redis://:***@host:6379/0"),
        ("postgres://u:p@ss/w@h/db is down", "postgres://u:***@h/db is down"),
        ("{'api_key': 'abc', 'size': 3}", "{'api_key': '***', 'size': 3}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("GET /?token=abc&page=2", "GET /?token=***&page=2"),
        ("https://example.org/a:b@c.jpg stored", "https://example.org/a:b@c.jpg stored"),
        ("caf\udce9.jpg is no picture", r"caf\udce9.jpg is no picture"),
    ],
)
def test_log_lines_show_no_secrets_and_can_be_written(line: str, shown: str) -> None:
    record = logging.LogRecord("pixsim", logging.INFO, __file__, 1, "%s", (line,), None)

    assert RedactingFormatter("%(message)s").format(record) == shown


def test_settings_models_and_admin_load_without_what_only_posix_has(tmp_path: Path) -> None:
    variables = environment(
        tmp_path, DATABASE_URL="postgres://u@h/d", CELERY_BROKER_URL="redis://127.0.0.1:1/0"
    )
    load = WITHOUT_POSIX + "import django; django.setup(); import pixsim.urls, pixsim.celery"

    done = subprocess.run(
        [sys.executable, "-c", load],
        env={**variables, "DJANGO_SETTINGS_MODULE": "pixsim.settings"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_every_variable_is_described_in_the_example_file() -> None:
    settings = (PROJECT / "pixsim" / "settings.py").read_text()
    example = (PROJECT / ".env.example").read_text()

    read = re.findall(r"env\.\w+\(\s*\"(\w+)\"", settings)

    assert len(read) > 40
    assert [name for name in read if not re.search(rf"^#?{name}=", example, re.M)] == []


def test_the_example_file_filled_in_runs_production(tmp_path: Path) -> None:
    example = (PROJECT / ".env.example").read_text()
    for name in ("SECRET_KEY", "CREDENTIALS_KEYS"):
        example = example.replace(f"\n{name}=\n", f"\n{name}={PRODUCTION[name]}\n")
    (tmp_path / "env").write_text(example)

    shown = settings_of(tmp_path, PIXSIM_ENV_FILE=str(tmp_path / "env"))

    assert shown["debug"] is False
    assert shown["database"]["NAME"] == "pixsim"
