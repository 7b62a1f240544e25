"""The words that the glossary replaced do not come back.

Names are looked at in parts (`pump_jobs` is `pump` and `jobs`). Prose is looked at only for words
that have no ordinary use here: a site may still say that a song is "filling the room".
"""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.world import PROJECT

OLD_NAMES = {
    "doorbell": "notify", "standby": "fallback workers",
    "workplace": "shared state", "pump": "dispatcher", "settling": "result handling",
    "consequences": "error policy", "filling": "chunk worker", "steering": "lifecycle",
    "deed": "activity", "deeds": "activity", "story": "timeline", "keeper": "supervisor",
    "promise": "invariant", "promises": "invariant", "losses": "destructive changes",
    "carrying": "dependent objects", "paper": "SQL collector", "meaning": "equivalence",
    "watching": "progress or lock monitor", "stranger": "unregistered row",
    "strangers": "unregistered row", "undecided": "unresolved", "settle": "resolve",
    "settled": "resolved", "unsettled": "unresolved",
}  # fmt: skip
OLD_TERMS = {
    "doorbell", "standby", "workplace", "deed", "deeds", "steering", "keeper", "the pump",
    "unsettled", "settling", "undecided",
}  # fmt: skip
# The contract keeps these: a stored value, an index, and the writer that empties asyncio's buffer.
KEPT = ('"undecided"', "'undecided'", "`undecided`", "_unsettled", "writer.drain", "drain_events")

FILES = [
    Path(name)
    for name in subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.html", "*.js", "*.toml", "Makefile"],
        cwd=PROJECT, check=True, capture_output=True, text=True,
    ).stdout.split()
    if "/migrations/" not in name and name != "tests/docs/test_words.py"
]  # fmt: skip


def read(file: Path) -> str:
    text = (PROJECT / file).read_text()
    for kept in KEPT:
        text = text.replace(kept, "…")
    return text


def parts(name: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def names(file: Path) -> Iterator[tuple[int, str]]:
    yield 0, file.stem
    for token in tokenize.generate_tokens(io.StringIO((PROJECT / file).read_text()).readline):
        if token.type == tokenize.NAME and not any(token.string in kept for kept in KEPT):
            yield token.start[0], token.string


def test_no_name_has_a_replaced_word() -> None:
    found = [
        f"{file}:{line} {name} ({OLD_NAMES[old]})"
        for file in FILES
        if file.suffix == ".py"
        for line, name in names(file)
        for old in parts(name) & OLD_NAMES.keys()
    ]
    assert not found, "\n".join(found)


def test_no_prose_has_a_replaced_term() -> None:
    pattern = re.compile(r"\b(" + "|".join(sorted(OLD_TERMS)) + r")\b", re.IGNORECASE)
    found = [
        f"{file}:{number} {match[0]}"
        for file in FILES
        for number, line in enumerate(read(file).splitlines(), 1)
        for match in pattern.finditer(line)
    ]
    assert not found, "\n".join(found)


def test_the_glossary_has_at_most_forty_words() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    glossary = re.search(r"## Glossary\n.*?(?=\n## )", text, re.DOTALL)
    assert glossary is not None
    assert 20 < glossary[0].count("\n| ") - 2 <= 40
