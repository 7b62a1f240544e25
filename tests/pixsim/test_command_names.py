"""Commands are modules with underscores, and are found with hyphens too."""

import io
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands

from crawler.management.commands import crawl_job
from providers.management.commands import provider_account

EITHER = pytest.mark.parametrize(
    ("name", "module"),
    [
        ("crawl_job", crawl_job),
        ("crawl-job", crawl_job),
        ("provider_account", provider_account),
        ("provider-account", provider_account),
    ],
)


def shell(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=settings.BASE_DIR,
        env={
            "PATH": "/usr/bin:/bin",
            "DJANGO_SETTINGS_MODULE": "pixsim.settings",
            "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@EITHER
def test_call_command_finds_either_spelling(name, module, monkeypatch):
    called = []
    monkeypatch.setattr(module.Command, "handle", lambda self, **options: called.append(options))
    arguments = {
        crawl_job: ["7", "status"],
        provider_account: ["add", "--provider", "p", "--email", "e"],
    }
    call_command(name, *arguments[module])
    assert len(called) == 1


@pytest.mark.parametrize("program", [("manage.py",), ("-m", "django")], ids=["manage.py", "django"])
@pytest.mark.parametrize("name", ["crawl_job", "crawl-job"])
def test_the_shell_finds_either_spelling(program, name):
    done = shell(*program, name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"{name} [-h]" in done.stdout


def test_help_lists_each_command_once():
    listed = shell("manage.py", "help").stdout.split()
    for name in ("crawl_job", "provider_account"):
        assert listed.count(name) == 1
        assert name.replace("_", "-") not in listed
    assert [name for name in get_commands() if "-" in name] == []


def test_other_names_are_unknown_as_before():
    with pytest.raises(CommandError, match="Unknown command: 'crawl-jobs'"):
        call_command("crawl-jobs", stdout=io.StringIO())
    done = shell("manage.py", "crawl-jobs")
    assert done.returncode == 1
    assert "Did you mean crawl_job?" in done.stderr
