"""Parsing of targets: `head`, `-1`, `crawler 0002`, a revision id."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from django.db.migrations.loader import MigrationLoader

from pixsim.schema.errors import UsageError

Key = tuple[str, str]
"""An app label and the full name of a migration."""

Revisions = Mapping[str, Sequence[Key]]
"""More names for points of the history, each with the last migration of each app there."""

HEAD, ZERO = ("head", "heads"), ("zero", "base")
RELATIVE = re.compile(r"[+-]\d+")
OTHER_WORDS = {
    **dict.fromkeys(("latest", "last", "newest", "tip", "top", "all"), HEAD[0]),
    **dict.fromkeys(("0", "none", "empty", "start", "beginning"), ZERO[0]),
}
"""What people type who do not remember the word, with the word."""
SHORTEST_REVISION = 4
"""The fewest characters of an abbreviated revision id."""


@dataclass(frozen=True)
class Point:
    """A point of the history: `keys` are the last migrations that stay; no migration of the
    `emptied` apps stays."""

    text: str
    keys: tuple[Key, ...] = ()
    emptied: tuple[str, ...] = ()
    is_head: bool = False


@dataclass(frozen=True)
class Distance:
    """`count` migrations from the database's point, of one app or of all; negative is down."""

    text: str
    count: int
    app: str | None = None


Target = Point | Distance


def read_target(
    loader: MigrationLoader, words: Sequence[str], *, revisions: Revisions | None = None
) -> Target:
    """Parse no word, one (`head`, `-1`, an app, a revision id), or an app and one.

    Raise UsageError, with similar names, if the words have no meaning or more than one.
    """
    if any(":" in word for word in words):
        text = " ".join(words)
        raise UsageError(f"{text} is a range, which is for scripts: say `upgrade {text} --sql`.")
    if len(words) > 2:
        raise UsageError(f"Too many words: {' '.join(words)}. Say an app and a migration.")
    if len(words) == 2:
        return _in_app(loader, *words)
    word = words[0] if words else HEAD[0]
    if word in HEAD:
        return Point(word, tuple(loader.graph.leaf_nodes()), is_head=True)
    if word in ZERO:
        return Point(word, emptied=tuple(sorted(loader.migrated_apps)))
    if RELATIVE.fullmatch(word):
        return Distance(word, _count(word))
    if word in loader.migrated_apps:
        return _in_app(loader, word, HEAD[0])
    revision = _revision(word, revisions or {})
    if revision:
        return Point(revision, tuple((revisions or {})[revision]))
    app, _, name = word.replace("@", ".").partition(".")  # as Alembic names a branch: app@head
    if name and app in loader.migrated_apps:
        return _in_app(loader, app, name)
    raise UsageError(_unknown(loader, word, revisions or {}))


def _in_app(loader: MigrationLoader, app: str, word: str) -> Target:
    if app not in loader.migrated_apps:
        raise UsageError(_no_such_app(loader, app))
    words = f"{app} {word}"
    if word in HEAD:
        return Point(words, tuple(loader.graph.leaf_nodes(app)), is_head=True)
    if word in ZERO:
        return Point(words, emptied=(app,))
    if RELATIVE.fullmatch(word):
        return Distance(words, _count(word), app)
    key = _migration(loader, app, word)
    return Point(" ".join(key), (key,))


def _count(word: str) -> int:
    count = int(word)
    if count == 0:
        raise UsageError(f"{word} goes nowhere. Say +1 or more to go up, -1 or more to go down.")
    return count


def _migration(loader: MigrationLoader, app: str, word: str) -> Key:
    """Return the one migration of `app` with the name `word`, or with a name that begins so."""
    start = word.zfill(4) if word.isdigit() else word
    names = sorted(name for label, name in loader.graph.nodes if label == app)
    found = [name for name in names if name == word] or [
        name for name in names if name.startswith(start)
    ]
    if len(found) == 1:
        return app, found[0]
    if found:
        raise UsageError(f"More than one migration of {app} begins with {word}: {listed(found)}.")
    for label, name in loader.graph.nodes:
        replaced = [part for part in loader.graph.nodes[label, name].replaces if part[0] == app]
        if any(part.startswith(start) for _, part in replaced):
            raise UsageError(f"{app} {word} is part of {label} {name}, which replaces it.")
    near = get_close_matches(word, names, cutoff=0.5) or names[-3:]
    raise UsageError(f"{app} has no migration {word}. Near: {listed(near)}.")


def _revision(word: str, revisions: Revisions) -> str | None:
    """Return the revision id that equals `word` or begins with it."""
    if word in revisions:
        return word
    found = [each for each in revisions if each.startswith(word)]
    if len(word) < SHORTEST_REVISION or not found:
        return None
    if len(found) > 1:
        raise UsageError(f"More than one revision begins with {word}: {listed(found)}.")
    return found[0]


def _no_such_app(loader: MigrationLoader, app: str) -> str:
    apps = sorted(loader.migrated_apps)
    near = get_close_matches(app, apps, cutoff=0.5) or apps
    return f"There is no app {app} with migrations. Near: {listed(near)}."


def _unknown(loader: MigrationLoader, word: str, revisions: Revisions) -> str:
    """Return a message for a word without a meaning, with similar names."""
    if word in OTHER_WORDS:
        return f"{word} has no meaning here: say {OTHER_WORDS[word]}."
    start = word.zfill(4) if word.isdigit() else word
    named = [f"{app} {name}" for app, name in sorted(loader.graph.nodes) if name.startswith(start)]
    if named:
        number = f" A number of migrations has a sign: +{word} or -{word}." if start != word else ""
        return f"{word} needs its app. Say which: {listed(named)}.{number}"
    names = {str(name): f"{app} {name}" for app, name in loader.graph.nodes}
    known = [*sorted(loader.migrated_apps), *revisions, *HEAD[:1], *ZERO, *names]
    near = [names.get(each, each) for each in get_close_matches(word.lower(), known, cutoff=0.5)]
    hint = f"Near: {listed(near)}." if near else "See `manage.py db history`."
    return f"{word} is no app, no migration, no revision and none of head, zero, +N and -N. {hint}"


def listed(names: Iterable[str]) -> str:
    """Return the names in one line, separated by commas."""
    return ", ".join(names)
