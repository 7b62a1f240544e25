"""From a target and what is applied to a plan: which migrations, in which order.

Going up follows the graph of the migration files; `-N` follows the order in which migrations were
applied, since that is what "the last one" means to the person who applied it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from pixsim.schema.errors import SchemaError, UsageError
from pixsim.schema.history import in_order
from pixsim.schema.target_parsing import (
    Distance,
    Key,
    Point,
    Revisions,
    Target,
    listed,
    read_target,
)


class SeveralHeads(SchemaError):
    """`head` is ambiguous while an app has more than one leaf migration."""


@dataclass(frozen=True)
class Step:
    """One migration to apply, or to take back with `backwards`."""

    app: str
    name: str
    backwards: bool = False
    asked: bool = True
    """False: the target does not name it, but a dependency requires it."""

    @property
    def key(self) -> Key:
        return self.app, self.name


@dataclass(frozen=True)
class Plan:
    """The steps, in order. No steps: the database is there already."""

    target: str
    """The target as it was parsed, for messages."""
    steps: tuple[Step, ...]

    @property
    def along(self) -> tuple[Step, ...]:
        """Return the steps that were not asked for but are needed."""
        return tuple(step for step in self.steps if not step.asked)


def executable(loader: MigrationLoader, plan: Plan) -> list[tuple[Migration, bool]]:
    """Return the plan as Django's executor takes it."""
    return [(loader.graph.nodes[step.key], step.backwards) for step in plan.steps]


def plan_for(
    loader: MigrationLoader,
    applied: Sequence[Key],
    words: Sequence[str],
    *,
    backwards: bool = False,
    revisions: Revisions | None = None,
) -> Plan:
    """Return the steps from `applied`, in the order of application, to the target.

    `loader` may have no connection. Without words the target is `head`; a way down needs words.
    Raise UsageError for words that cannot be parsed or that lead the other way, SeveralHeads for an
    ambiguous `head`, SchemaError if a needed file is missing.
    """
    target = read_target(loader, words, revisions=revisions)
    if backwards:
        if not words or (len(words) == 1 and words[0] in loader.migrated_apps):
            raise UsageError(_how_far(words))
        return _down(loader, applied, target)
    return _up(loader, applied, target)


def plan_between(
    loader: MigrationLoader,
    applied: Sequence[Key],
    words: Sequence[str],
    *,
    revisions: Revisions | None = None,
) -> Plan:
    """Return the steps to exactly the target, from either side: down first, then up."""
    target = read_target(loader, words, revisions=revisions)
    if isinstance(target, Distance):
        return (_down if target.count < 0 else _up)(loader, applied, target)
    standing = _standing(loader, applied)
    reached = tuple(key for key in target.keys if key in standing)
    down = _down(loader, applied, Point(target.text, reached, target.emptied)).steps
    gone = {step.key for step in down}
    rest = [key for key in standing if key not in gone]
    up = _up(loader, rest, Point(target.text, target.keys, is_head=target.is_head)).steps
    return Plan(target.text, down + up)


def state_at(
    loader: MigrationLoader, words: Sequence[str], *, revisions: Revisions | None = None
) -> list[Key]:
    """Return what an empty database has applied after an upgrade to the target, in plan order."""
    target = read_target(loader, words, revisions=revisions)
    if isinstance(target, Distance) and target.count < 0:
        raise UsageError(f"{target.text} needs a database to count from.")
    if isinstance(target, Point) and target.emptied:
        return []
    return [step.key for step in _up(loader, (), target).steps]


def _up(loader: MigrationLoader, applied: Sequence[Key], target: Target) -> Plan:
    if isinstance(target, Distance):
        return _next(loader, applied, target)
    if target.emptied:
        raise UsageError(f"{target.text} is down: say `downgrade {target.text}`.")
    if target.is_head:
        refuse_several_heads(target.keys)
    apps = {app for app, _ in target.keys}
    return Plan(target.text, _forwards(loader, applied, target.keys, asked_apps=apps))


def _next(loader: MigrationLoader, applied: Sequence[Key], target: Distance) -> Plan:
    """Plan the next `count` migrations, and what those of one app depend on."""
    if target.count < 0:
        raise UsageError(f"{target.text} is down: say `downgrade {target.text}`.")
    leaves = tuple(loader.graph.leaf_nodes(target.app))
    refuse_several_heads(leaves)
    pending = [
        step.key for step in _forwards(loader, applied, leaves) if target.app in (None, step.app)
    ]
    if len(pending) < target.count:
        of = f" of {target.app}" if target.app else ""
        raise UsageError(
            f"{target.text} goes too far: {len(pending)} migrations{of} are waiting. "
            f"Say `head` for all."
        )
    asked = pending[: target.count]
    return Plan(target.text, _forwards(loader, applied, asked, asked_keys=asked))


def _forwards(
    loader: MigrationLoader,
    applied: Sequence[Key],
    keys: Iterable[Key],
    *,
    asked_apps: Iterable[str] | None = None,
    asked_keys: Iterable[Key] | None = None,
) -> tuple[Step, ...]:
    """Return what is missing below `keys`, and these, in plan order."""
    seen = set(_standing(loader, applied))
    steps = []
    for target in keys:
        for app, name in loader.graph.forwards_plan(target):
            if (app, name) in seen:
                continue
            seen.add((app, name))
            asked = (asked_apps is None or app in asked_apps) and (
                asked_keys is None or (app, name) in asked_keys
            )
            steps.append(Step(app, name, asked=asked))
    return tuple(steps)


def refuse_several_heads(leaves: Iterable[Key]) -> None:
    """Raise SeveralHeads if an app occurs twice in `leaves`."""
    names: dict[str, list[str]] = {}
    for app, name in leaves:
        names.setdefault(app, []).append(name)
    several = [f"{app} ({listed(sorted(each))})" for app, each in names.items() if len(each) > 1]
    if several:
        raise SeveralHeads(
            f"More than one head: {'; '.join(several)}. Nothing was changed. Join them with "
            f"`manage.py db merge`, or make one depend on the other; see `manage.py db branches`."
        )


@dataclass
class _Unwinding:
    """Collect the steps that take migrations back, each after all that depend on it."""

    loader: MigrationLoader
    standing: list[Key]
    asked: set[Key]
    steps: dict[Key, Step] = field(default_factory=dict)

    def take_back(self, key: Key) -> None:
        pending = [key]
        while pending:
            top = pending[-1]
            waiting = [each for each in self._children(top) if each not in self.steps]
            if waiting:
                pending.append(waiting[-1])
                continue
            pending.pop()
            self.steps.setdefault(top, Step(*top, backwards=True, asked=top in self.asked))

    def _children(self, key: Key) -> list[Key]:
        """Return the applied migrations that depend on this one, the last applied at the end."""
        children = {node.key for node in self.loader.graph.node_map[key].children}
        return [each for each in self.standing if each in children]


def _down(loader: MigrationLoader, applied: Sequence[Key], target: Target) -> Plan:
    standing = _standing(loader, applied)
    if isinstance(target, Distance):
        asked = _last(loader, applied, standing, target)
    else:
        asked = _after(loader, standing, target)
    unwinding = _Unwinding(loader, standing, asked)
    for key in reversed(standing):
        if key in asked:
            unwinding.take_back(key)
    return Plan(target.text, tuple(unwinding.steps.values()))


def _last(
    loader: MigrationLoader, applied: Sequence[Key], standing: list[Key], target: Distance
) -> set[Key]:
    """Return the last `-count` migrations that were applied."""
    if target.count > 0:
        raise UsageError(f"{target.text} is up: say `upgrade {target.text}`.")
    known = set(standing)
    order = [key for key in in_order(loader, applied) if target.app in (None, key[0])]
    asked = order[target.count :]
    if len(order) < -target.count:
        of = f" of {target.app}" if target.app else ""
        raise UsageError(
            f"{target.text} goes too far: {len(order)} migrations{of} are applied. "
            f"Say `zero` for all."
        )
    gone = [" ".join(key) for key in asked if key not in known]
    if gone:
        raise SchemaError(
            f"{listed(gone)} was applied, but its file is gone, so it cannot be taken back. Nothing "
            f"was changed. Bring the file back, or forget the row with `manage.py db prune`."
        )
    return set(asked)


def _after(loader: MigrationLoader, standing: list[Key], target: Point) -> set[Key]:
    """Return what is applied after the point: all of an emptied app, else the later migrations of
    the app of each key."""
    if target.is_head:
        raise UsageError(f"{target.text} is up: say `upgrade {target.text}`.")
    missing = [" ".join(key) for key in target.keys if key not in standing]
    if missing:
        raise UsageError(
            f"{listed(missing)} is not applied, so there is no going down to it: say "
            f"`upgrade {target.text}`."
        )
    beyond = {key for key in standing if key[0] in target.emptied}
    for app, name in target.keys:
        children = [node.key for node in loader.graph.node_map[app, name].children]
        for child in children:
            if child[0] == app:
                beyond.update(key for key in loader.graph.backwards_plan(child) if key[0] == app)
    return beyond & set(standing)


def _standing(loader: MigrationLoader, applied: Sequence[Key]) -> list[Key]:
    """Return the migrations of the graph that are applied, in the order of application."""
    return [key for key in in_order(loader, applied) if key in loader.graph.nodes]


def _how_far(words: Sequence[str]) -> str:
    app = f"{words[0]} " if words else ""
    return (
        f"Say how far down: `downgrade {app}-1`, `downgrade {app or 'APP '}0001`, or "
        f"`downgrade {app}zero`."
    )
