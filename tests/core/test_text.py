"""Untrusted text is decoded and read within bounds."""

import json

import pytest

from pixsim.core.text import DEEPEST_JSON, ENCODINGS, MOST_JSON, read_json, text_encoding


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("UTF-8", "utf_8"), ("utf8", "utf_8"), ("ISO-8859-1", "latin_1"), ("latin1", "latin_1"),
        ("Windows-1252", "cp1252"), ("shift-jis", "shift_jis"), ("x" * 10**6, None), ("", None),
        ("punycode", None), ("idna", None), ("unicode_escape", None), ("base64", None), ("zip", None),
    ],
)  # fmt: skip
def test_an_encoding_is_one_of_a_fixed_list(name: str, encoding: str | None) -> None:
    assert text_encoding(name) == encoding


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_of_the_list_reads_any_bytes(encoding: str) -> None:
    assert isinstance(bytes(range(256)).decode(encoding, "replace"), str)


def test_json_is_read_without_what_stands_too_deep() -> None:
    text = "[" * 500 + "]" * 500
    assert read_json(text) == json.loads("[" * (DEEPEST_JSON + 1) + "]" * (DEEPEST_JSON + 1))
    assert read_json(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * MOST_JSON * 2, "[" + "0," * MOST_JSON, "9" * 5000, "{", "\ud800"]
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)
    with pytest.raises(ValueError):
        read_json(text.encode("utf-8", "surrogatepass"))
