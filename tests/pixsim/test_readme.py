"""What the README tells people to type under "Tasks" is typed, in its order, on a new installation."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import PROJECT, World

pytestmark = [pytest.mark.workers, pytest.mark.long]

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# These need the network, or go on until they are ended.
NOT_HERE = ("python -m demo.site", "python manage.py providers accounts test")
REFUSED_AS_SHOWN = "--param width=9000"
OF_A_JOB_THAT_MAY_HAVE_ENDED = re.compile(
    r"(crawl_job|job) \d+ (pause|resume|priority|cancel|retry)\b"
)


def shown() -> list[str]:
    page = (PROJECT / "README.md").read_text()
    tasks = page[page.index("\n## Tasks\n") : page.index("\n### Look after the schema\n")]
    lines = [line for block in BLOCK.findall(tasks) for line in block.splitlines()]
    return [line[2:] for line in lines if line.startswith("$ ")]


@pytest.mark.timeout(600)
def test_every_task_of_the_readme_can_be_done_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "manage.py").symlink_to(PROJECT / "manage.py")
    with World(PYTHONPATH=str(PROJECT)) as world:
        environment = {
            **world.env,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DJANGO_SUPERUSER_PASSWORD": "a good long password",
        }

        def run(line: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["bash", "-c", line],
                cwd=tmp_path,
                env=environment,
                input="r8_secret\n",
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

        ada = "--username ada --email ada@example.org"
        assert f"createsuperuser {ada}" in (PROJECT / "README.md").read_text()
        assert run(f"python manage.py createsuperuser --noinput {ada}").returncode == 0
        world.start_worker()
        for line in shown():
            if line.startswith(NOT_HERE):
                continue
            done = run(line)
            expected = {2} if REFUSED_AS_SHOWN in line else {0}
            if OF_A_JOB_THAT_MAY_HAVE_ENDED.search(line):
                expected |= {1}
            said = f"$ {line}\n{done.stdout}{done.stderr}"
            print(said)  # to renew what the README shows
            assert done.returncode in expected, said
            assert "Traceback" not in said
        assert shlex.split(shown()[0])[:3] == ["python", "-m", "demo.samples"]
        assert (tmp_path / "out" / "folder-pictures-1.zip").is_file()
        assert (tmp_path / "refused.csv").read_bytes().startswith(b"\xef\xbb\xbfoutcome,")
