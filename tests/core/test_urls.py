"""Addresses are sent as browsers send them: as written, unless no request may contain it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsim.core.urls import MAX_LENGTH, BadUrl, sendable

HOST = "http://h.example"
AS_WRITTEN = [
    "/a?sig=a%2fb%2BC%3d",
    "/%7euser/%41%2f%c3%a9.jpg",
    "/i.jpg?utm_source=x&fbclid=y&Signature=z",
    "/i.jpg?b=2&a=1&&c&=&",
    "/i.jpg?",
    "/i.jpg??a?b",
    "//a//b;v=1,2//",
    "/100%.jpg?50%&%zz",
    "/!$&'()*+,;=:@[]|~.jpg?!$&()*+,;=:@/?[]\\{}|^`~",
    "/...jpg/..a/.b/c./d..",
    "/a?../b/./c",
]


@pytest.mark.parametrize("target", AS_WRITTEN)
def test_what_a_request_may_contain_is_sent_as_written(target: str) -> None:
    assert sendable(HOST + target) == HOST + target
    assert sendable(target, "http://h.example/x//y?z") == HOST + target or target[:2] == "//"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("HTTP://H.Example:80", "http://h.example/"),
        ("https://h.example:443/a", "https://h.example/a"),
        ("http://h.example:0443/a", "http://h.example:443/a"),
        ("http://h.example.:8080?a", "http://h.example.:8080/?a"),
        ("http://127.0.0.1./", "http://127.0.0.1/"),
        ("http://user:s%40cret@h.example/a#b?c", "http://h.example/a"),
        (" \x0bhttp://h.ex\tample/a\r\n%2f\n.jpg\x00 ", "http://h.example/a%2f.jpg"),
        ("http://h.example\\a\\%5c?\\", "http://h.example/a/%5c?\\"),
        ("http://h.example/a %2f b", "http://h.example/a%20%2f%20b"),
        ("http://h.example/é%c3%a9?é%c3%a9", "http://h.example/%C3%A9%c3%a9?%C3%A9%c3%a9"),
        ('http://h.example/"<>^`{}?"<>\'', "http://h.example/%22%3C%3E%5E%60%7B%7D?%22%3C%3E%27"),
        ("http://h.example/%2e/a/%2E%2e/.%2e/b/..", "http://h.example/"),
        ("http://h.example/a//../b/.", "http://h.example/a/b/"),
        ("http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"),
    ],
)
def test_an_address_is_sent_as_browsers_send_it(written: str, sent: str) -> None:
    assert sendable(written) == sent
    assert sendable(sent) == sent


@pytest.mark.parametrize(
    ("reference", "sent"),
    [
        ("c%2f.jpg?", "/x//y/c%2f.jpg?"),
        ("c//d.jpg;", "/x//y/c//d.jpg;"),
        ("./../%2e%2E/c", "/x/c"),
        ("../../../../c", "/c"),
        ("", "/x//y/z?a=%2f"),
        ("#top", "/x//y/z?a=%2f"),
        ("?", "/x//y/z?"),
        ("?b=%2f#", "/x//y/z?b=%2f"),
        ("http:c.jpg", "/x//y/c.jpg"),
        ("//h.example:80/c", "/c"),
        ("\\\\h.example\\c", "/c"),
    ],
)
def test_references_are_resolved_and_otherwise_left_alone(reference: str, sent: str) -> None:
    assert sendable(reference, "http://h.example/x//y/z?a=%2f") == HOST + sent


def test_a_limit_holds_for_what_is_given_and_for_what_is_sent() -> None:
    room = MAX_LENGTH - len(f"{HOST}/")
    assert len(sendable(f"{HOST}/{'a' * room}")) == MAX_LENGTH
    for too_long in ("a" * (room + 1), "é" * (room // 6 + 1), "\U0001f600" * (room // 12 + 1)):
        with pytest.raises(BadUrl, match=f"at most {MAX_LENGTH}"):
            sendable(f"{HOST}/{too_long}")
        with pytest.raises(BadUrl, match=f"at most {MAX_LENGTH}"):
            sendable(too_long, f"{HOST}/")


@given(
    st.text(st.sampled_from("%2eEfF7~/.?&=#;'[]|\\ é\udce9"), max_size=20),
    st.sampled_from(["", "/", "?", "/a?", "../", "//h.example"]),
)
def test_no_reference_is_respelled_twice_nor_leaves_its_host(text: str, before: str) -> None:
    try:
        sent = sendable(before + text, f"{HOST}/x//y/z?a")
    except BadUrl:
        return
    assert sendable(sent) == sent == sendable(sent, "https://other.example/")
    assert before.startswith("//") or text.startswith(("/", "\\")) or sent.startswith(f"{HOST}/")
