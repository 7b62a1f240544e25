"""What a server encodes although it is asked not to, over real sockets."""

import asyncio
import gzip
import tracemalloc
import zlib
from functools import partial

import pytest

from pixsim.core.net import FetchError, Limits, Reason
from tests.core.test_net_client import PATIENT, client_for, serving

PLAIN = b"User-agent: *\nDisallow: /\n" + bytes(range(256)) * 40
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + PLAIN
MIB = 1024**2
packed = partial(gzip.compress, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def answered(body: bytes, *encodings: str) -> bytes:
    lines = "".join(f"Content-Encoding: {name}\r\n" for name in encodings)
    return f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def fetch(answer: bytes, limits: Limits = PATIENT, **options) -> bytes:
    async def scenario() -> bytes:
        async with serving({"/": answer}) as site, client_for(site, limits=limits) as client:
            return (await client.fetch(site.url(), **options)).body

    return asyncio.run(scenario())


def refusal(answer: bytes, limits: Limits = PATIENT) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch(answer, limits)
    return caught.value


@pytest.mark.parametrize(
    ("body", "encodings"),
    [
        (packed(PLAIN), ["gzip"]),
        (packed(PLAIN), ["GZip"]),
        (packed(PLAIN), ["x-gzip"]),
        (packed(PLAIN), ["identity, gzip"]),
        (packed(PLAIN), ["deflate"]),
        (zlib.compress(PLAIN), ["deflate"]),
        (raw_deflate(PLAIN), ["deflate"]),
        (packed(zlib.compress(PLAIN)), ["deflate, gzip"]),
        (packed(zlib.compress(PLAIN)), ["deflate", "gzip"]),
        (packed(packed(PLAIN)), [" gzip ,gzip,"]),
        (packed(PLAIN[:99]) + packed(PLAIN[99:]), ["gzip"]),
        (packed(PLAIN) + b"what follows", ["gzip"]),
        (packed(PLAIN) + bytes(512), ["gzip"]),
        (zlib.compress(PLAIN) + b"what follows", ["deflate"]),
        (PLAIN, ["gzip"]),
        (PLAIN, ["x-gzip, deflate"]),
        (PLAIN, ["deflate"]),
        (packed(PLAIN), ["gzip, gzip"]),
        (PLAIN, ["identity"]),
        (PLAIN, ["none", "utf-8", "aws-chunked", ""]),
        (packed(PLAIN), ["utf-8, gzip"]),
    ],
)
def test_a_body_comes_without_its_codings_and_plain_if_it_only_claims_to_have_some(
    body: bytes, encodings: list[str]
) -> None:
    assert fetch(answered(body, *encodings)) == PLAIN


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "gzip, deflate"])
@pytest.mark.parametrize(
    "begin", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"BM", b"II*\0"]
)
def test_a_picture_that_only_claims_to_be_encoded_stays_as_it_is(encoding, begin) -> None:
    assert fetch(answered(begin + PLAIN, encoding)) == begin + PLAIN


def test_what_is_packed_but_not_said_to_be_encoded_stays_so() -> None:
    body = packed(PLAIN)
    assert fetch(answered(body)) == body
    assert fetch(answered(body, "gzip"), as_sent=True) == body
    assert fetch(answered(b"", "gzip")) == b""
    assert fetch(answered(packed(b""), "gzip")) == b""


@pytest.mark.parametrize(
    ("body", "encodings", "why"),
    [
        (packed(PLAIN)[:-20], ["gzip"], "cut off"),
        (packed(PLAIN)[:5], ["gzip"], "cut off"),
        (packed(PLAIN) * 2, ["gzip"], None),
        ((packed(PLAIN) * 2)[:-20], ["gzip"], "cut off"),
        (zlib.compress(PLAIN)[:-20], ["deflate"], "cut off"),
        (raw_deflate(PLAIN)[:-20], ["deflate"], "cut off"),
        (packed(PLAIN)[:-8] + b"12345678", ["gzip"], "damaged"),
        (b"\x1f\x8b garbage", ["gzip"], "damaged"),
        (PLAIN, ["br"], "encoded as br"),
        (PLAIN, ["zstd, gzip"], "encoded as zstd"),
        (PLAIN, ["x-compress"], "encoded as compress"),
        (PLAIN, ["gzip, " * 6], "encoded 6 times"),
        (PLAIN, ["gzip, " * 20_000], "encoded 20000 times"),
    ],
)
def test_what_cannot_be_decoded_is_named(body, encodings, why) -> None:
    if why is None:
        assert fetch(answered(body, *encodings)) == PLAIN * 2
        return
    error = refusal(answered(body, *encodings))
    assert (error.reason, error.retryable) == (Reason.BAD_ANSWER, False)
    assert why in error.detail


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (packed(bytes(50 * MIB)), "gzip"),
        (zlib.compress(bytes(50 * MIB)), "deflate"),
        (raw_deflate(bytes(50 * MIB)), "deflate"),
        (packed(packed(bytes(50 * MIB))), "gzip, gzip"),
        (packed(bytes(90_000)) * 2, "gzip"),
    ],
)
def test_a_bomb_is_cut_at_the_limit(body: bytes, encoding: str) -> None:
    tracemalloc.start()
    try:
        error = refusal(answered(body, encoding))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.reason == Reason.TOO_LARGE
    assert most < 8 * MIB


def test_the_limit_holds_before_and_after_decoding() -> None:
    body = bytes(PATIENT.max_bytes)
    assert fetch(answered(packed(body), "gzip")) == body
    assert refusal(answered(packed(body + b"x"), "gzip")).reason == Reason.TOO_LARGE
    assert refusal(answered(packed(b"x") + body, "gzip")).reason == Reason.TOO_LARGE


def test_the_bytes_that_decoding_adds_are_reported() -> None:
    reported: list[int] = []
    body = packed(bytes(90_000))
    fetch(answered(body, "gzip"), on_bytes=reported.append)
    assert reported[0] <= len(body)
    assert sum(reported) == 90_000


def test_others_of_the_event_loop_do_not_wait_for_a_bomb() -> None:
    limits = Limits(60 * MIB, 5, 5, 60, 0, 3)
    bomb = answered(packed(bytes(50 * MIB)), "gzip")

    async def scenario() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with serving({"/": bomb}) as site, client_for(site, limits=limits) as client:
            task = asyncio.create_task(others())
            assert len((await client.fetch(site.url())).body) == 50 * MIB
            task.cancel()
        return turns

    assert asyncio.run(scenario()) > 200
