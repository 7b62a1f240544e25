"""Files that would cost a worker or the site much memory or time: providers' are kept, people's refused."""

import subprocess
import sys
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts import credits
from jobs.generation import calling, files
from jobs.models import Asset, Job
from pixsim.core import blobs, media
from pixsim.core.confined import Confined
from tests import poison
from tests.crawler.pictures import corrupted, encode, photograph
from tests.jobs.generation.conftest import PROJECT, ask, ended, finish, worker_environment
from tests.jobs.generation.test_admin import EDIT, post
from tests.providers.adapters.fake import picture

pytestmark = pytest.mark.django_db(transaction=True)

POISON = {
    "wide.png": (poison.wide_png(), "10000 x 10000 pixels"),
    "wide.gif": (poison.gif(10_000, 5), "10000 x 10000 pixels"),
    "endless.gif": (poison.gif(3000, 10_000), "10,000 frames of 3000 x 3000"),
    "slow.jpg": (poison.slow_jpeg(), "processor time"),
    "damaged.png": (corrupted(encode(photograph(), "PNG")), "cannot be read"),
}
STRANGE = {
    "page.html": (b"<html><script>alert(1)</script>", "It is no image: it begins with"),
    "song.mp3": (b"ID3" + bytes(99), "It is audio/mpeg, no image"),
}


@pytest.mark.long
def test_a_worker_keeps_what_was_paid_for_and_goes_on(
    fake, make_account, ada, blob_folder, tmp_path
) -> None:
    make_account(slots=20)
    fake.files = {name: (data, "image/png") for name, (data, _) in {**POISON, **STRANGE}.items()}
    first = ask(ada, prompt="first")
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.generation.worker"],
        cwd=PROJECT,
        env=worker_environment(fake, blob_folder, tmp_path),
    )
    try:
        wait_for(first)
        before = poison.memory_of(worker.pid, "VmHWM")
        hostile = [ask(ada, prompt=name) for name in fake.files]
        sound = [ask(ada, prompt=f"sound {number}") for number in range(6)]
        wait_for(*hostile, *sound)
        assert poison.memory_of(worker.pid, "VmHWM") - before < poison.FLAT_BYTES
    finally:
        worker.kill()
        worker.wait()

    jobs = Job.objects.select_related("asset").in_bulk()
    assert {job.status for job in jobs.values()} == {"completed"}
    assert all(jobs[job.pk].asset.thumbnail_url for job in [first, *sound])
    slow = jobs[hostile[list(fake.files).index("slow.jpg")].pk]
    assert all(jobs[job.pk].completed_at < slow.completed_at for job in sound)
    for job, (data, why) in zip(hostile, {**POISON, **STRANGE}.values(), strict=True):
        asset = jobs[job.pk].asset
        assert (asset.media_type, asset.mime_type) == ("other", "application/octet-stream")
        assert why in asset.undecoded
        assert blobs.open_blob(asset.local_path).read() == data
    assert credits.balance(ada) == 1000 - 2 * len(jobs)


def wait_for(*jobs: Job) -> None:
    ends = time.monotonic() + 60
    while not ended(*jobs)():
        assert time.monotonic() < ends, "the worker did not end them in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "name",
    [
        "wide.png",
        "wide.gif",
        "endless.gif",
        "damaged.png",
        pytest.param("slow.jpg", marks=pytest.mark.long),
    ],
)
def test_an_upload_is_refused_by_name_with_the_reason(
    admin_client: Client, ada, blob_folder, name
) -> None:
    data, why = POISON[name]
    media.examine(picture(), side=8)  # what decoding needs is there before
    with poison.flat_memory():
        page = post(
            admin_client,
            EDIT,
            owner=ada.pk,
            **{"params-effect": "auto", "params-format": "png", "params-quality": "88"},
            **{"upload-image": SimpleUploadedFile(name, data, "image/png")},
        )
    assert page.status_code == 200
    text = page.content.decode()
    assert f"{name}: It" in text
    assert why in text
    assert not Asset.objects.exists()
    assert not Job.objects.exists()


def test_an_undecoded_asset_is_a_download_with_its_reason(
    admin_client: Client, fake, account, ada
) -> None:
    fake.file = STRANGE["page.html"][0], "text/html"
    job = finish(ask(ada))
    url = reverse("admin:jobs_asset_file", args=[job.asset_id, "whole"])
    for page in ("jobs_job_change", "jobs_asset_change"):
        key = job.pk if page == "jobs_job_change" else job.asset_id
        text = admin_client.get(reverse(f"admin:{page}", args=[key])).content.decode()
        assert f'<a href="{url}">Download</a>' in text
        assert "It is no image: it begins with" in text
        assert f'src="{url}"' not in text
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer = admin_client.get(url, headers=headers)
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["X-Content-Type-Options"] == "nosniff"
    assert admin_client.get(reverse("admin:jobs_asset_changelist")).status_code == 200


def test_where_nothing_can_be_decoded_the_paid_file_is_kept_and_an_upload_waits(
    admin_client: Client, fake, account, ada, monkeypatch
) -> None:
    monkeypatch.setattr(calling, "KEEP_DELAYS", (0.01,))
    monkeypatch.setattr(media.client, "_idle", [Confined("no.such.module", memory_bytes=1)] * 2)
    job = finish(ask(ada))
    assert (job.status, job.asset.media_type) == ("completed", "other")
    assert "could not be decoded" in job.asset.undecoded
    with pytest.raises(files.media.Unavailable):
        files.keep_upload(picture())
    upload = SimpleUploadedFile("mine.png", picture(), "image/png")
    page = post(admin_client, EDIT, owner=ada.pk, **{"upload-image": upload})
    assert "mine.png: files cannot be decoded at the moment" in page.content.decode()
