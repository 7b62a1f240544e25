"""What the demo says of its generations."""

import io

import pytest
from rich.console import Console

from demo import generating
from tests.crawler.in_process import working

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _own_blobs(settings, tmp_path) -> None:
    options = {"location": str(tmp_path / "blobs")}
    backend = {"BACKEND": "pixsim.core.blobs.local.BlobStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    settings.PIXSIM_HOME = tmp_path


def test_one_that_failed_is_told_with_its_reason_and_fails_the_demo(settings, tmp_path) -> None:
    settings.LOCAL_PROVIDER = {"failure_rate": 1, "failures": ["filtered"]}
    jobs = generating.ask()
    with working():
        generating.wait_for(jobs, check=lambda: None)
    console = Console(file=io.StringIO(), width=200)

    assert not generating.show(console, jobs, tmp_path)

    said = console.file.getvalue().splitlines()
    assert said[0].startswith(f"Picture:       Job {jobs[0].pk} is failed: ")
    assert "Its parent job" in said[1]
    assert said[2].startswith(f"Song:          Job {jobs[2].pk} is failed: ")
    assert not list(tmp_path.glob("*.*"))
