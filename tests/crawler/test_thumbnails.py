"""Thumbnails in the admin: made once, in a confined child, kept beside the image, and swept with it."""

import os
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.urls import reverse
from PIL import Image as Pillow

from crawler import maintenance, thumbnails
from crawler.models import Image
from jobs.queue.kinds import Options
from pixsim.core import blobs, media
from tests import poison
from tests.crawler.pictures import encode, jpeg, photograph
from tests.crawler.test_export import add_image, make_job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _blobs(settings, tmp_path):
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(tmp_path / "blobs")},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


@pytest.fixture
def decodings(monkeypatch):
    """The files that were decoded, in order; each really is."""
    decoded = []
    examine = media.examine

    def counted(data, **options):
        decoded.append(data)
        return examine(data, **options)

    monkeypatch.setattr(media, "examine", counted)
    return decoded


def picture_of(client, image, size="small", **headers):
    url = reverse("admin:crawler_image_picture", args=[image.pk, size])
    return client.get(url, headers=headers)


def is_placeholder(answer) -> bool:
    return (answer.status_code, answer["Content-Type"]) == (404, "image/svg+xml")


def test_it_is_made_when_first_viewed_and_kept(admin_client, decodings):
    image = add_image(make_job(), 1, encode(photograph(), "WEBP"), suffix=".webp")
    first, second, large = (
        picture_of(admin_client, image, size) for size in ("small", "small", "large")
    )
    assert first.content == second.content
    assert first.content.startswith(b"\xff\xd8\xff")
    assert first["X-Content-Type-Options"] == "nosniff"
    assert len(large.content) > len(first.content)
    assert len(decodings) == 2
    again = picture_of(admin_client, image, **{"If-None-Match": first["ETag"]})
    assert again.status_code == 304


def test_what_the_crawl_could_read_is_shown(admin_client):
    half_a_chunk = b"\0\0\0\1gAMA\0" + zlib.crc32(b"gAMA\0").to_bytes(4, "big")
    png = encode(photograph(), "PNG")
    image = add_image(make_job(), 1, png[:33] + half_a_chunk + png[33:], suffix=".png")
    assert picture_of(admin_client, image).content.startswith(b"\xff\xd8\xff")


def test_two_who_look_at_once_make_one(decodings):
    key = add_image(make_job(), 1, jpeg(2000, 1500)).storage_url
    together = threading.Barrier(4)

    def look(_number):
        together.wait()
        try:
            return thumbnails.thumbnail(key, size="small")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(look, range(4)))
    assert len(set(seen)) == 1
    assert seen[0]
    assert len(decodings) == 1


def test_it_is_swept_with_the_image_and_not_before(admin_client):
    image = add_image(make_job(), 1)
    picture_of(admin_client, image)
    picture_of(admin_client, image, "large")
    for key, _ in list(blobs.iter_keys()):
        moment = time.time() - timedelta(days=1).total_seconds()
        os.utime(blobs.local_path(key), (moment, moment))

    assert maintenance.sweep_orphans(Options(), lambda count: None).count == 0
    assert len(list(blobs.iter_keys())) == 3
    Image.objects.all().delete()
    assert maintenance.sweep_orphans(Options(), lambda count: None).count == 3
    assert list(blobs.iter_keys()) == []


@pytest.mark.parametrize(
    "data",
    [
        poison.wide_png(),
        poison.gif(10_000, 5),
        b"\x89PNG\r\n\x1a\n" + bytes(99),
        pytest.param(poison.slow_jpeg(), marks=pytest.mark.long),
    ],
    ids=["wide png", "wide gif", "damaged png", "slow jpeg"],
)
def test_of_poison_there_is_a_placeholder_and_it_is_tried_once(
    admin_client,
    decodings,
    caplog,
    data,
):
    image = add_image(make_job(), 1, data)
    with poison.flat_memory():
        assert is_placeholder(picture_of(admin_client, image))
    assert is_placeholder(picture_of(admin_client, image))
    assert len(decodings) == 1
    assert not any(record.exc_info for record in caplog.records)


def test_what_was_not_its_own_fault_is_tried_again(
    admin_client,
    decodings,
    monkeypatch,
):
    image = add_image(make_job(), 1, poison.slow_jpeg(4000, 20))
    with monkeypatch.context() as hurried:
        hurried.setattr(thumbnails, "SECONDS", 0.05)
        assert is_placeholder(picture_of(admin_client, image))
    assert picture_of(admin_client, image).status_code == 200
    assert len(decodings) == 2


def test_where_the_lock_is_not_had_in_time_there_is_a_placeholder(
    admin_client,
    monkeypatch,
):
    image = add_image(make_job(), 1)
    monkeypatch.setattr(thumbnails, "SECONDS", 1)
    held, done = threading.Event(), threading.Event()

    def hold():
        try:
            with thumbnails.transaction.atomic(), connections["default"].cursor() as cursor:
                name = blobs.key_for(image.sha256, ".small")
                cursor.execute(thumbnails.ONE_MAKER, [name])
                held.set()
                done.wait(30)
        finally:
            connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(10)
        assert is_placeholder(picture_of(admin_client, image))
    finally:
        done.set()
        holder.join()
    assert picture_of(admin_client, image).status_code == 200


@pytest.mark.parametrize("size", [(8000, 6000), (9000, 6000)])
def test_the_largest_picture_that_a_crawl_accepts_can_be_seen(admin_client, settings, size):
    settings.CRAWL_MAX_PIXELS = size[0] * size[1]  # also above what other decoders take
    largest = Pillow.new("RGB", size, "red")
    image = add_image(make_job(), 1, encode(largest, "PNG", compress_level=1), suffix=".png")
    assert picture_of(admin_client, image).content.startswith(b"\xff\xd8\xff")
