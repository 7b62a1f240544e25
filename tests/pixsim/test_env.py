"""The reader of settings and of `.env`: what is meant is read, and what cannot be is refused by name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from pixsim.env import Env, read_env_file
from pixsim.service_urls import broker_from_url, database_from_url
from tests.pixsim.support import PROJECT, environment, manage


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=b", "b"),
        ("NAME = b  # why", "b"),
        ("export NAME=b", "b"),
        ("  NAME=  b c\t# why", "b c"),
        ("NAME=a#b", "a#b"),
        ("NAME=#b", "#b"),
        ("NAME= # nothing", ""),
        ("NAME=", ""),
        ("NAME=$a&d3", "$a&d3"),
        ("NAME=${HOME}$(id)`id`", "${HOME}$(id)`id`"),
        ("NAME=it's", "it's"),
        ("NAME='a # b'  # why", "a # b"),
        (r"NAME='a\nb'", r"a\nb"),
        (r'NAME="a\nb\"c\\\$"', 'a\nb"c\\\\$'),
        ('NAME={"FREE": {"window": 2}}', '{"FREE": {"window": 2}}'),
        ("NAME=postgres://u:p%23@h/db?a=b", "postgres://u:p%23@h/db?a=b"),
        ("\ufeffNAME=b\r\n\r\n# x", "b"),
    ],
)
def test_a_line_of_the_env_file(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / "env").write_text(line, newline="")

    assert read_env_file(tmp_path / "env") == {"NAME": value}


@pytest.mark.parametrize(
    "line",
    [
        "hidden",
        "hidden value",
        "1A=hidden",
        "NAME='hidden",
        'NAME="hidden',
        'NAME="hid" den',
        "=hidden",
    ],
)
def test_another_line_is_refused_by_its_number_and_not_quoted(tmp_path: Path, line: str) -> None:
    (tmp_path / "env").write_text(f"A=1\n{line}\n")

    with pytest.raises(ImproperlyConfigured, match="env, line 2: ") as refused:
        read_env_file(tmp_path / "env")

    assert "hid" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(b"A=caf\xe9")

    with pytest.raises(ImproperlyConfigured, match="env cannot be read: it is not UTF-8"):
        read_env_file(tmp_path / "env")
    with pytest.raises(ImproperlyConfigured, match="cannot be read: Is a directory"):
        read_env_file(tmp_path)
    assert read_env_file(tmp_path / "none") == {}


def env(value: str) -> Env:
    return Env({"NAME": value})


@pytest.mark.parametrize("value", ["", "  "])
def test_what_is_empty_is_not_set(value: str) -> None:
    one = env(value)

    assert one.text("NAME", "d") == "d"
    assert one.text("NAME", "d", choices=("c", "d")) == "d"
    assert one.flag("NAME", True) is True
    assert one.integer("NAME", 7) == 7
    assert one.number("NAME", 0.5) == 0.5
    assert one.items("NAME", ["d"]) == ["d"]
    assert one.integers("NAME", [80], least=1, most=9) == [80]
    assert one.mapping("NAME") == {}
    assert one.secret("NAME") == ""


def test_what_is_set_is_read_as_it_stands() -> None:
    assert env("$a&d3").secret("NAME") == "$a&d3"
    assert env("On").flag("NAME", False) is True
    assert env(" 30 ").integer("NAME", 1) == 30
    assert env("0.2").number("NAME", 1) == 0.2
    assert env("a, b,,c ").items("NAME") == ["a", "b", "c"]
    assert env("80,443").integers("NAME", [], least=1, most=65535) == [80, 443]
    assert env('{"a": 1}').mapping("NAME") == {"a": 1}
    assert env("json").text("NAME", choices=("plain", "json")) == "json"
    assert env("info").text("NAME", choices=("INFO",)) == "INFO"


@pytest.mark.parametrize(
    ("method", "options", "value"),
    [
        ("flag", {"default": True}, "flase"),
        ("flag", {"default": True}, "2"),
        ("integer", {"default": 1}, "30s"),
        ("integer", {"default": 1}, "1.5"),
        ("integer", {"default": 1}, "-1"),
        ("integer", {"default": 1, "least": 1}, "0"),
        ("integer", {"default": 1, "most": 65535}, "70000"),
        ("number", {"default": 1.0}, "0,2"),
        ("number", {"default": 1.0}, "nan"),
        ("number", {"default": 1.0}, "inf"),
        ("number", {"default": 1.0}, "-0.1"),
        ("integers", {"default": [], "least": 1, "most": 65535}, "80;443"),
        ("integers", {"default": [], "least": 1, "most": 65535}, "0"),
        ("mapping", {}, "[1]"),
        ("mapping", {}, "{FREE: 1}"),
        ("text", {"choices": ("fair", "fifo")}, "lifo"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_name_of_the_variable(
    method: str, options: dict, value: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^NAME must .*\.$") as refused:
        getattr(env(value), method)("NAME", **options)

    assert "\n" not in str(refused.value)


def test_a_secret_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        env('{"replicate": hidden}').mapping("NAME", secret=True)

    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u@/a?host=/sock", ("/sock", "", "a")),
        ("postgres://u@%2Fsock%2Fdir:5432/a", ("/sock/dir", 5432, "a")),
        ("postgresql://u:p%23%2F@h:5/a", ("h", 5, "a")),
        ("postgres://u:p@[::1]:5/a", ("::1", 5, "a")),
        ("postgres://u:p@h1:5,h2:6/a?target_session_attrs=read-write", ("h1,h2", "5,6", "a")),
    ],
)
def test_a_database_url(url: str, expected: tuple) -> None:
    database = database_from_url(url)

    assert (database["HOST"], database["PORT"], database["NAME"]) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://u:hid#den@h/a", "# is %23"),
        ("postgres://u:hid/den@h/a", "/ is written %2F"),
        ("postgres://u:1/den@h/a", "/ is written %2F"),
        ("postgres://u:hid?den@h/a", "? is %3F"),
        ("hidden", "must name a PostgreSQL database"),
        ("mysql://u:hidden@h/a", "must name a PostgreSQL database"),
        ("postgresql+psycopg2://u:hidden@h/a", "without the name of a driver"),
        ("postgresql+asyncpg://u:hidden@h/a", "without the name of a driver"),
        ("postgres://u:hidden@h/a?schema=public", "leave schema out"),
        ("postgres://u:hidden@h/a?pgbouncer=true", "leave pgbouncer out"),
        ("postgres://u:hidden@h/a?ssl=true", "sslmode=require"),
    ],
)
def test_another_database_url_is_refused_with_what_to_write(url: str, said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(said)) as refused:
        database_from_url(url)

    assert str(refused.value).startswith(("DATABASE_URL ", "In DATABASE_URL "))
    assert "hid" not in str(refused.value)
    assert "den@" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p%23@h:6379/0",
        "rediss://h:6379/0?ssl_cert_reqs=required",
        "redis+socket://:p@/run/redis.sock",
        "amqp://u:p@h:5672//",
        "amqp://u:p@h1;amqp://u:p@h2",
    ],
)
def test_a_broker_url_goes_to_celery_as_it_is(url: str) -> None:
    assert broker_from_url(url, timeout=1)[0] == url


def test_the_master_of_sentinels_is_an_option_and_not_part_of_the_url() -> None:
    url, options = broker_from_url(
        "sentinel://:p@h:26379/0?master_name=pix;sentinel://h2:26379", timeout=1
    )

    assert url == "sentinel://:p@h:26379/0;sentinel://h2:26379"
    assert options["master_name"] == "pix"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:hid#den@h:6379/0", "# is %23"),
        ("redis://:hid/den@h:6379/0", "/ is written %2F"),
        ("unix:///run/redis.sock", "write redis+socket:///folder/redis.sock"),
        ("sentinel://:hidden@h:26379/0", "must name the master"),
        ("sqs://hidden", "must look like one of these"),
        ("redis://h;amqp://h", "must look like one of these"),
        ("hidden", "must look like one of these"),
    ],
)
def test_another_broker_url_is_refused_with_what_to_write(url: str, said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(said)) as refused:
        broker_from_url(url, timeout=1)

    assert str(refused.value).startswith("CELERY_BROKER_URL")
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize("url", ["redis://:hid#den@h:6379/0", "redis://:hid/den@h:6379/0"])
def test_commands_and_workers_refuse_wrong_settings_in_one_line(tmp_path: Path, url: str) -> None:
    variables = environment(tmp_path, CELERY_BROKER_URL=url)
    words = [sys.executable, "-m", "celery", "-A", "pixsim", "worker"]

    worker = subprocess.run(
        words, env=variables, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    command = manage("check", env=variables)

    for done in (worker, command):
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert said.startswith("Settings: CELERY_BROKER_URL must look like one of these")
        assert said.count("\n") == 1
        assert "den" not in said


def test_an_env_file_with_spaces_is_read_and_names_the_database(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("DATABASE_URL = postgres://u:hidden@127.0.0.1:1/new  # ours\n")
    variables = environment(tmp_path, PIXSIM_ENV_FILE=str(tmp_path / "env"), DATABASE_URL="")

    done = manage("db", "status", env=variables)

    assert "127.0.0.1" in done.stdout + done.stderr
    assert "hidden" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"QUEUE_LEASE_SECONDS": 2}, "QUEUE_LEASE_SECONDS is 2"),
        ({"QUEUE_STALL_SECONDS": 20}, "QUEUE_STALL_SECONDS is 20, below QUEUE_LEASE_SECONDS"),
        ({"QUEUE_STALL_SECONDS": 60}, "QUEUE_STALL_SECONDS is 60: a sound download"),
        ({"CRAWL_READ_TIMEOUT": 90.0}, "CRAWL_READ_TIMEOUT is above CRAWL_TOTAL_TIMEOUT"),
        ({"CRAWL_MAX_BYTES": 2**40}, "CRAWL_MAX_BYTES is above CRAWL_IN_FLIGHT_BYTES"),
        ({"CRAWL_ALLOWED_PRIVATE": ["10.0.0"]}, "CRAWL_ALLOWED_PRIVATE: '10.0.0' is not"),
        ({"CRAWL_HOST_LIMITS": {"a": {"rate": "x"}}}, "CRAWL_HOST_LIMITS: a may have"),
        ({"CRAWL_HOST_LIMITS": {"a": {"concurrency": 0}}}, "CRAWL_HOST_LIMITS: a may have"),
        ({"CRAWL_HOST_LIMITS": {"a": {"speed": 1}}}, "CRAWL_HOST_LIMITS: a may have"),
        ({"PUBLIC_URL": "pixsim.example"}, "PUBLIC_URL must be an address"),
        ({"PROVIDER_BASE_URLS": {"openai": 7}}, "PROVIDER_BASE_URLS: openai must be"),
        ({"PROVIDER_WEBHOOK_SECRETS": {"openai": ""}}, "PROVIDER_WEBHOOK_SECRETS: openai must"),
        ({"CREDENTIALS_KEYS": ["short"]}, "CREDENTIALS_KEYS: key 1 is no Fernet key"),
    ],
)
def test_check_tells_what_does_not_fit(settings, changes: dict, said: str) -> None:
    settings.QUEUE_LEASE_SECONDS, settings.QUEUE_STALL_SECONDS = 30, 120
    for name, value in changes.items():
        setattr(settings, name, value)

    found = [error.msg for error in run_checks() if error.id == "pixsim.E001"]

    assert any(problem.startswith(said) for problem in found), found
    assert "short" not in str(found)
