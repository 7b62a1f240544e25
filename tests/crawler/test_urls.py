"""Addresses have one key, however they are spelled."""

import string
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.urls import (
    canonical,
    file_url,
    has_picture_suffix,
    host_of,
    join,
    origin_of,
    path_of,
    server_of,
    url_key,
)
from pixsim.core.urls import BadUrl, sendable


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://Example.COM:80/A/b.JPG", "http://example.com/A/b.JPG"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("http://example.com:/a", "http://example.com/a"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://user:secret@example.com/a", "http://example.com/a"),
        ("http://example.com/a#part", "http://example.com/a"),
        ("http://example.com/a/./b/../c.jpg", "http://example.com/a/c.jpg"),
        ("http://example.com/../../etc", "http://example.com/etc"),
        ("http://example.com/a/%2e%2e/b", "http://example.com/b"),
        ("http://example.com/a/..", "http://example.com/"),
        ("http://example.com//a//b", "http://example.com//a//b"),
        ("http://example.com/%7euser/%41%2f%c3%a9", "http://example.com/~user/A%2F%C3%A9"),
        ("http://example.com/a b/é.jpg", "http://example.com/a%20b/%C3%A9.jpg"),
        ("http://example.com/100%.jpg", "http://example.com/100%25.jpg"),
        ("  http://example.com/a\n\t.jpg ", "http://example.com/a.jpg"),
        ("http://example.com\\a\\b.jpg?c=\\", "http://example.com/a/b.jpg?c=%5C"),
        ("http://example.com/?b=2&a=1", "http://example.com/?b=2&a=1"),
        ("http://example.com/?", "http://example.com/"),
        ("http://example.com/i?utm_source=x&id=7&fbclid=y", "http://example.com/i?id=7"),
        ("http://example.com/i?%75tm_source=x&GCLID=z", "http://example.com/i"),
        ("http://example.com/i?gclidder=1", "http://example.com/i?gclidder=1"),
        ("http://Bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://例え。テスト/a", "http://xn--r8jz45g.xn--zckzah/a"),
        ("http://127.0.0.1:8000/a", "http://127.0.0.1:8000/a"),
        ("http://[2001:DB8:0::1]:8080/a", "http://[2001:db8::1]:8080/a"),
    ],
)
def test_every_spelling_has_the_key_of_the_one_that_is_meant(written: str, meant: str) -> None:
    assert canonical(written) == meant
    assert canonical(meant) == meant
    assert canonical(sendable(written)) == meant
    assert url_key(written) == url_key(meant) == sha256(meant.encode()).digest()


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "does not start with http"),
        ("example.com/a.jpg", "does not start with http"),
        ("//example.com/a.jpg", "does not start with http"),
        ("ftp://example.com/a", "'ftp'"),
        ("file:///etc/passwd", "'file'"),
        ("javascript:alert(1)", "'javascript'"),
        ("data:image/png;base64,AAAA", "'data'"),
        ("http:///a", "no host"),
        ("http:a", "no host"),
        ("http://exa mple.com/", "no valid name"),
        ("http://a..b/", "no valid name"),
        ("http://" + "a" * 64 + ".com/", "no valid name"),
        ("http://" + "ä" * 300 + ".com/", "international"),
        ("http://2130706433/", "IPv4"),
        ("http://0x7f.1/", "IPv4"),
        ("http://127.0.0.01/", "IPv4"),
        ("http://\uff11\uff12\uff17.1/", "IPv4"),
        ("http://[::1%25eth0]/", "cannot be read"),
        ("http://[:::]/", "IPv6"),
        ("http://example.com:0/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:8x/", "cannot be read"),
        ("http://example.com/a\x00b", "U+0000"),
        ("http://example.com/\ud800", "surrogate"),
        ("http://\udfff.com/", "international"),
        ("http://example.com/?a=\udce9", "surrogate"),
        ("http://example.com/" + "a" * 8000, "at most 8000"),
    ],
)
def test_what_is_no_address_is_refused_in_words(written: str, why: str) -> None:
    with pytest.raises(BadUrl) as refused:
        canonical(written)
    assert why in str(refused.value)


def test_an_address_cannot_look_like_one_host_and_mean_another() -> None:
    assert host_of(canonical("http://good.example\\@evil.example/a")) == "good.example"
    assert host_of(canonical("http://good.example@evil.example/a")) == "evil.example"
    assert host_of(canonical("http://evil%2Eexample/a")) == "evil.example"
    assert host_of(canonical("http://[::1]:8000/a")) == "::1"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://Example.org:80/a", "example.org"),
        ("https://example.org:443/a", "example.org"),
        ("http://example.org:443/a", "example.org:443"),
        ("https://u:p@example.org:8443/a", "example.org:8443"),
        ("http://[::1]/a", "::1"),
        ("http://[::1]:8000/a", "[::1]:8000"),
    ],
)
def test_a_server_is_a_host_with_a_port_of_its_own(url: str, server: str) -> None:
    assert server_of(canonical(url)) == server


def test_a_file_has_no_server(tmp_path: Path) -> None:
    assert server_of(file_url(tmp_path / "a.jpg")) == ""


_tricky = st.text(
    alphabet=st.sampled_from("%2eE5c/\\.:@?#&=[]aA0x~ \t\x00é。ß\ud800-_"), max_size=30
)


@given(st.one_of(st.text(), _tricky), st.sampled_from(["", "http://", "https://h/", "http://h/?"]))
@example("%2%41", "https://h/")
@example("%%341", "https://h/")
def test_any_text_is_refused_or_becomes_a_stable_plain_address(text: str, before: str) -> None:
    try:
        once, sent = canonical(before + text), sendable(before + text)
    except BadUrl:
        return
    assert canonical(once) == once == canonical(sent)
    assert sendable(sent) == sent
    assert sendable(once) == once
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent
    assert host_of(sent) == host_of(once)
    assert set(once) <= set(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/?%[]")
    assert once.startswith(origin_of(once) + "/")
    assert host_of(once) == host_of(once).lower() != ""
    assert len(url_key(once)) == 32


@given(st.text(), st.sampled_from(["", "../", "//", "/", "?", "[", "http://["]))
def test_joining_any_reference_gives_an_address_or_a_refusal(text: str, before: str) -> None:
    try:
        joined = join("https://example.com/a/b.html?c", before + text)
    except BadUrl:
        return
    assert sendable(joined) == joined


def test_references_are_read_as_browsers_read_them() -> None:
    base = "https://example.com/a/b.html"
    assert join(base, "c.jpg") == "https://example.com/a/c.jpg"
    assert join(base, " ../c\n.jpg ") == "https://example.com/c.jpg"
    assert join(base, "//cdn.example/c.jpg") == "https://cdn.example/c.jpg"
    with pytest.raises(BadUrl):
        join(base, "https://")
    assert join(base, "\\\\cdn.example\\c.jpg") == "https://cdn.example/c.jpg"


@given(
    st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and b"/" not in name)
)
def test_file_addresses_keep_every_byte_of_a_name(name: bytes) -> None:
    path = Path("/pictures") / name.decode("utf-8", "surrogateescape")
    assert path_of(file_url(path)) == path
    assert host_of(file_url(path)) == ""


def test_only_absolute_file_addresses_are_paths() -> None:
    for written in ("file://host/a", "http://example.com/a", "/a", "file:///a%00b"):
        with pytest.raises(BadUrl):
            path_of(written)


def test_picture_files_are_told_by_their_path() -> None:
    assert has_picture_suffix("http://example.com/a.JPG?download=1")
    assert not has_picture_suffix("http://example.com/view.html?f=a.jpg")
    assert has_picture_suffix("http://example.com/a%2Ejp%67")
    assert not has_picture_suffix("http://example.com/jpg")
