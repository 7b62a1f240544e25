"""`make check` finds circles of imports, in whatever form they are written."""

import sys
from pathlib import Path

import pytest

from tests.import_circles import circles, imports_of


def test_circles_are_found_and_a_mere_chain_is_none() -> None:
    imports = {"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": ["e"], "e": ["d"], "f": ["a"]}
    assert sorted(map(sorted, circles(imports))) == [["a", "b", "c"], ["d", "e"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_imports_in_functions_and_for_types_alone_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "circular_example"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from circular_example import b\n"
    )
    (package / "b.py").write_text("def f():\n    from circular_example import a\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert circles(imports_of("circular_example")) == [{"circular_example.a", "circular_example.b"}]
    sys.modules.pop("circular_example", None)
