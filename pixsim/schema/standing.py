"""Where a history ends, in one line: the last migration of each app, and the revisions it equals."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.migrations.loader import MigrationLoader

from pixsim.schema.target_parsing import Key, Revisions, listed


@dataclass(frozen=True)
class Standing:
    keys: tuple[Key, ...]
    """Of each app that has any the last migration, or several if it forks, by name."""
    revisions: tuple[str, ...]
    """The revisions of an older system that are this point of the history."""

    def __str__(self) -> str:
        """The keys as the commands take them, and the revisions."""
        names: dict[str, list[str]] = {}
        for app, name in self.keys:
            names.setdefault(app, []).append(name)
        text = listed(f"{app} {_short(each)}" for app, each in names.items()) or "nothing"
        return f"{text} = {listed(self.revisions)}" if self.revisions else text


def standing(
    loader: MigrationLoader,
    present: Collection[Key],
    *,
    apps: Collection[str],
    revisions: Revisions,
) -> Standing:
    """Return where a history with the migrations `present` ends, of `apps` alone."""
    ends = {
        key
        for key in set(present) & loader.graph.nodes.keys()
        if key[0] in apps
        and not any(
            child.key[0] == key[0] and child.key in present
            for child in loader.graph.node_map[key].children
        )
    }
    equal = [name for name, keys in revisions.items() if keys and ends.issuperset(keys)]
    return Standing(tuple(sorted(ends)), tuple(equal))


def _short(names: Sequence[str]) -> str:
    """Return the number of an app's only last migration; else the names."""
    number = names[0].partition("_")[0]
    return number if len(names) == 1 and number.isdigit() else " and ".join(names)
