"""Pictures that earlier releases stored as they are decoded: `db backfill` sets them upright."""

import pytest
from django.core.management import call_command
from django.db import connection
from PIL import ImageOps

from crawler import backfills
from crawler.backfills import UPRIGHT_IMAGES
from crawler.models import Image
from jobs.backfills import UPRIGHT_ASSETS
from jobs.models import Asset
from pixsim.core import blobs
from pixsim.core.db.backfill import BackfillRefused
from pixsim.schema import backfills as registry
from tests.crawler.oriented import NAME, entry, exif, opened, with_pillows
from tests.crawler.pictures import encode, jpeg, photograph
from tests.crawler.test_export import add_image, blob_folder, make_job

__all__ = ["blob_folder"]
pytestmark = pytest.mark.django_db(transaction=True)
SIDEWAYS = with_pillows("JPEG", 6)


@pytest.fixture(scope="module", autouse=True)
def _no_decoder_is_left():
    yield
    backfills._decoder().close()
    backfills._decoder.cache_clear()


def stored(image: Image) -> tuple[int | None, ...]:
    image.refresh_from_db()
    return image.width, image.height, image.is_upright


def as_before(job, number: int, data: bytes, **values) -> Image:
    width, height = opened(data).size
    return add_image(job, number, data, width=width, height=height, **values)


def status() -> tuple[str, int, int, int | None]:
    now = registry.status(connection, UPRIGHT_IMAGES)
    return str(now.state), now.done, now.changed, now.pending


def test_rows_of_earlier_releases_become_those_of_the_upright_picture():
    job = make_job()
    turned = as_before(job, 0, SIDEWAYS)
    upright = as_before(job, 1, jpeg(96, 64))
    near = as_before(job, None, with_pillows("PNG", 3), suffix=".png", near_duplicate_of=turned)
    assert status() == ("to do", 0, 0, 3)

    call_command("db", "backfill", "run", "upright-images")

    assert stored(turned) == (32, 64, True)
    assert stored(upright) == (96, 64, True)
    assert stored(near) == (64, 32, True)
    assert near.near_duplicate_of == turned
    assert turned.phash not in (-1, None)
    assert status() == ("done", 3, 3, 0)


def test_its_hash_is_that_of_the_same_picture_stored_upright():
    job = make_job()
    file = encode(photograph(96, 64), "PNG", exif=NAME + exif(entry(6)))
    turned = as_before(job, 0, file, suffix=".png")
    pixels = ImageOps.exif_transpose(opened(file))
    pixels.info.clear()
    upright = as_before(job, 1, encode(pixels, "PNG"), suffix=".png")
    UPRIGHT_IMAGES.run(connection)
    turned.refresh_from_db()
    upright.refresh_from_db()
    assert turned.phash == upright.phash
    assert stored(turned) == stored(upright)


def test_what_is_missing_or_damaged_stays_as_it_was_and_is_counted(capsys):
    job = make_job()
    missing = as_before(job, 0, SIDEWAYS)
    blobs.delete(missing.storage_url)
    damaged = add_image(job, 1, jpeg(96, 64)[:300])
    elsewhere = add_image(job, 2, storage_url="/old/disk/2.jpg")
    by_hand = add_image(job, 3, storage_url=None)
    there = as_before(job, 4, with_pillows("WEBP", 8), suffix=".webp")

    call_command("db", "backfill", "run", "upright-images")

    said = capsys.readouterr().out
    assert "upright-images is done: 1 of 4 rows were changed" in said
    assert "3 rows are still as they were" in said
    assert stored(there) == (32, 64, True)
    for image in (missing, damaged, elsewhere, by_hand):
        assert stored(image) == (64, 32 if image is missing else 48, None)
    assert status() == ("done", 4, 1, 3)

    blobs.put(SIDEWAYS, suffix=".jpg")
    call_command("db", "backfill", "run", "upright-images", "--restart")
    assert stored(missing) == (32, 64, True)


def test_it_goes_on_where_it_was_stopped(monkeypatch, capsys):
    job = make_job()
    images = [as_before(job, number, jpeg(96, 64, seed=number)) for number in range(12)]
    images.append(as_before(job, 12, SIDEWAYS))
    read = blobs.read

    def fail_late(key):
        if key == images[-1].storage_url:
            raise blobs.BlobStorageError("The bucket does not answer.")
        return read(key)

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "read", fail_late)
        with pytest.raises(SystemExit):
            call_command("db", "backfill", "run", "upright-images")
    assert capsys.readouterr().err == (
        "The bucket does not answer. What was looked at before stays; run this again to go on.\n"
    )
    assert status()[0] == "interrupted"
    looked_at = Image.objects.filter(is_upright=True).count()
    assert 0 < looked_at < 13

    looked_at_again = []
    monkeypatch.setattr(blobs, "read", lambda key: looked_at_again.append(key) or read(key))
    call_command("db", "backfill", "run", "upright-images")
    assert len(looked_at_again) == 13 - looked_at
    assert stored(images[-1]) == (32, 64, True)
    assert status() == ("done", 13, 13, 0)


def test_without_the_storage_nothing_is_called_missing():
    image = as_before(make_job(), 0, SIDEWAYS)
    blobs.delete(image.storage_url)
    with pytest.raises(BackfillRefused, match="is empty, so it is not the one of this database"):
        UPRIGHT_IMAGES.run(connection)
    assert stored(image) == (64, 32, None)


def test_assets_get_the_size_of_the_upright_picture(django_user_model):
    user = django_user_model.objects.create_user("ann")

    def asset(data: bytes, suffix: str = ".jpg", mime_type: str = "image/jpeg") -> Asset:
        return Asset.objects.create(
            user=user, media_type="image", provider_id="p", provider_asset_id="", remote_url="",
            sha256=blobs.put(data, suffix=suffix)[3:67], local_path=blobs.put(data, suffix=suffix),
            mime_type=mime_type, width=64, height=32,
        )  # fmt: skip

    turned, damaged = asset(SIDEWAYS), asset(SIDEWAYS[:200])
    sound = asset(b"RIFF", ".wav", "audio/wav")
    call_command("db", "backfill", "run", "upright-assets")
    sizes = {
        row[0]: row[1:] for row in Asset.objects.values_list("pk", "width", "height", "is_upright")
    }
    assert sizes == {
        turned.pk: (32, 64, True),
        damaged.pk: (64, 32, None),
        sound.pk: (64, 32, None),
    }
    assert registry.status(connection, UPRIGHT_ASSETS).pending == 1


def test_the_migrations_go_back_and_keep_what_was_set_right(walk):
    image = as_before(make_job(), 0, SIDEWAYS)
    UPRIGHT_IMAGES.run(connection)
    walk("crawler", "0010_hosts")
    with connection.cursor() as cursor:
        cursor.execute("SELECT width, height FROM images WHERE id = %s", [image.pk])
        assert cursor.fetchall() == [(32, 64)]
    assert registry.status(connection, UPRIGHT_IMAGES).pending is None
