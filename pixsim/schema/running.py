"""Applying a plan, or taking it back: each migration all or nothing, or resumed operation by operation.

A migration in a transaction is recorded in the same transaction, and repeated as a whole when a lock is
not available in time. One without a transaction is done operation by operation: whatever stops it, the
next run continues with the interrupted operation.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.management import CommandError
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ModelState, ProjectState
from django.db.transaction import atomic
from django.utils.module_loading import module_has_submodule

from pixsim.schema import files
from pixsim.schema.connecting import explain
from pixsim.schema.dependents import (
    Dependent,
    by_migration,
    dependents_of,
    drop,
    refuse_dependents,
)
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import graph_order, load_migrations
from pixsim.schema.lock_retry import LockPolicy, LockRetry, Wait
from pixsim.schema.ownership import refuse_foreign
from pixsim.schema.target_parsing import Key
from pixsim.schema.targets import Step


class MigrationFailed(SchemaError):
    """A migration raised an error; the message says what remains of it."""


@dataclass(frozen=True)
class Done:
    """A migration that was applied or taken back."""

    step: Step
    seconds: float
    waits: tuple[Wait, ...] = ()
    """The locks that were not given in time."""


class Listener:
    """Callbacks of a run; each does nothing unless it is overridden."""

    def begins(self, step: Step) -> None: ...
    def waits(self, wait: Wait) -> None: ...
    def ended(self, done: Done) -> None: ...


def run(
    connection: BaseDatabaseWrapper,
    steps: Sequence[Step],
    *,
    policy: LockPolicy | None = None,
    listener: Listener | None = None,
    ignore_foreign: bool = False,
    drop_dependents: bool = False,
) -> list[Done]:
    """Apply the steps, or take them back, with the signals that Django's `migrate` sends.

    All steps have one direction. Raise MigrationFailed, LockNotGiven or Interrupted; what was done
    before stays. Raise HasDependents before anything is done if objects that no migration made would
    go along; with `drop_dependents` they do.
    """
    for app in apps.get_app_configs():  # where receivers of the signals are registered
        if app.module and module_has_submodule(app.module, "management"):
            import_module(".management", app.name)
    done: list[Done] = []
    executor = Executor(
        connection, policy=policy, listener=listener, done=done, drop_dependents=drop_dependents
    )
    refuse_foreign(connection, executor.loader, ignore=ignore_foreign)
    nodes = executor.loader.graph.nodes
    plan = [(nodes[step.key], step.backwards) for step in steps]
    about: dict[str, Any] = {
        "verbosity": 0,
        "interactive": False,
        "db": connection.alias,
        "plan": plan,
    }
    state = executor.state_before()
    emit_pre_migrate_signal(apps=state.apps, **about)
    state = executor.migrate(None, plan=plan, state=state.clone())
    emit_post_migrate_signal(apps=_final(state).apps, **about)
    return done


class Executor(MigrationExecutor):
    """Django's executor with the guarantees of this module; `migrate` uses it too."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        progress_callback: Callable[..., None] | None = None,
        *,
        policy: LockPolicy | None = None,
        listener: Listener | None = None,
        done: list[Done] | None = None,
        loader: MigrationLoader | None = None,
        drop_dependents: bool = False,
    ) -> None:
        self.connection = connection
        self.loader = loader or load_migrations(connection)
        self.recorder = MigrationRecorder(connection)
        self.progress_callback = progress_callback
        self._listener = listener or Listener()
        self._done = [] if done is None else done
        self._waits: list[Wait] = []
        self._lock_retry = LockRetry(
            connection, policy or LockPolicy.from_settings(), self._on_wait
        )
        self._unfinished: dict[tuple[Key, bool], files.Unfinished] = {}
        self._drop_dependents = drop_dependents
        self._dependents: Mapping[Key, list[Dependent]] = {}

    def state_before(self) -> ProjectState:
        """Return the state after all applied migrations."""
        return super()._create_project_state(with_applied_migrations=True)  # type: ignore[misc,no-any-return]

    def migration_plan(
        self, targets: Any, clean_start: bool = False
    ) -> list[tuple[Migration, bool]]:
        self.planned = super().migration_plan(targets, clean_start)
        return self.planned

    def migrate(
        self,
        targets: Any,
        plan: Sequence[tuple[Migration, bool]] | None = None,
        state: ProjectState | None = None,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        plan = self.migration_plan(targets) if plan is None else plan
        if plan and not fake:
            found = dependents_of(self.connection, self.loader, plan)
            refuse_dependents(found, may_go=self._drop_dependents)
            self._dependents = by_migration(found)
        if plan:
            self.recorder.ensure_schema()
            files.make_table(self.connection)
            self._look_for_unfinished(plan)
        with self._lock_retry.open() if plan else nullcontext():
            return super().migrate(targets, plan, state, fake, fake_initial)

    def _migrate_all_backwards(
        self, plan: Sequence[tuple[Migration, bool]], full_plan: Any, fake: bool
    ) -> ProjectState:
        """Take back `plan` with the states that the database really has on the way.

        Django derives them from `full_plan`, the order in which an empty database is migrated: they
        then contain models that this plan has already taken back, if the migrations were applied in
        another order. So give it what stays, and then the plan itself from its end.
        """
        nodes = self.loader.graph.nodes
        back = [migration for migration, _ in plan]
        gone = {(migration.app_label, migration.name) for migration in back}
        stays = [
            nodes[key]
            for key in graph_order(self.loader)
            if key in self.loader.applied_migrations and key not in gone
        ]
        order = [(migration, False) for migration in (*stays, *reversed(back))]
        return super()._migrate_all_backwards(plan, order, fake)  # type: ignore[misc,no-any-return]

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        step = self._begins(migration, backwards=False, fake=fake)
        started = time.monotonic()
        if fake_initial and not fake:
            fake, state = self.detect_soft_applied(state, migration)
        if fake:
            self.record_migration(migration)
        else:
            state = self._run(migration, state, backwards=False)
        self._ended(step, migration, fake, time.monotonic() - started)
        return state

    def unapply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False
    ) -> ProjectState:
        step = self._begins(migration, backwards=True, fake=fake)
        started = time.monotonic()
        if fake:
            self._record_unapplied(migration)
        else:
            state = self._run(migration, state, backwards=True)
        self._ended(step, migration, fake, time.monotonic() - started)
        return state

    # The stubs describe another method than Django has.
    def record_migration(self, migration: Migration) -> None:  # type: ignore[override]
        key = (migration.app_label, migration.name)
        if migration.replaces:  # Django would record it itself at the end of the run
            there = self.recorder.applied_migrations()
            for each in [*migration.replaces, key]:
                if each not in there:
                    self.recorder.record_applied(*each)
        else:
            self.recorder.record_applied(*key)
        files.record(self.connection, migration)

    def _record_unapplied(self, migration: Migration) -> None:
        for key in [*migration.replaces, (migration.app_label, migration.name)]:
            self.recorder.record_unapplied(*key)
            files.forget(self.connection, key)

    def check_replacements(self) -> None:
        """Record the squashed migrations of which all that they replace is applied, in the order
        in which they would be applied, with the hashes of their files."""
        applied = {*self.recorder.applied_migrations()}
        squashed = self.loader.replacements
        inner = [key for key in squashed if key not in self.loader.graph.nodes]
        for key in [*inner, *(key for key in graph_order(self.loader) if key in squashed)]:
            migration = squashed[key]
            if key not in applied and applied.issuperset(migration.replaces):
                applied.add(key)
                self.recorder.record_applied(*key)
                files.make_table(self.connection)
                files.record(self.connection, migration)

    def _run(self, migration: Migration, state: ProjectState, *, backwards: bool) -> ProjectState:
        journal = None
        if not migration.atomic:
            journal = files.Journal(self.connection, migration, backwards)
            journal.open(self._unfinished.get(((migration.app_label, migration.name), backwards)))
        try:
            return self._lock_retry.attempt(
                lambda: self._change(migration, state.clone(), journal, backwards)
            )
        except DatabaseError as error:
            raise MigrationFailed(
                f"{migration} failed. {explain(error, self.connection)} {_what_stays(journal)}"
            ) from error
        except CommandError as error:  # a data step that says itself what to do
            raise MigrationFailed(str(error)) from error
        except SchemaError as error:
            raise type(error)(f"{migration} stopped. {error} {_what_stays(journal)}") from error
        except BrokenPipeError:  # of a data step that prints to somebody who has left
            raise
        except Exception as error:  # a data step may raise anything
            raise MigrationFailed(
                f"{migration} failed: {type(error).__name__}: {error} {_what_stays(journal)}"
            ) from error

    def _change(
        self,
        migration: Migration,
        state: ProjectState,
        journal: files.Journal | None,
        backwards: bool,
    ) -> ProjectState:
        """Apply the migration, or take it back, once."""
        original, migration = migration, copy(migration)
        if journal:
            once = [
                _ResumableOperation(operation, place, journal, self._lock_retry)
                for place, operation in enumerate(original.operations)
            ]
            vars(migration)["operations"] = once
        with atomic(self.connection.alias) if original.atomic else nullcontext():
            for each in self._dependents.get((original.app_label, original.name), ()):
                drop(self.connection, each)
            # Were the transaction the editor's own, what it does last would be recorded apart.
            with self.connection.schema_editor(atomic=False) as editor:
                state = (migration.unapply if backwards else migration.apply)(state, editor)
            if backwards:
                self._record_unapplied(original)
            else:
                self.record_migration(original)
        return state

    def _look_for_unfinished(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Remember the migrations that were stopped midway. Raise Interrupted if the plan does not
        include them."""
        planned = {((step.app_label, step.name), backwards) for step, backwards in plan}
        apps_changed = {step.app_label for step, _ in plan}
        for each in files.unfinished(self.connection, self.loader):
            key = (each.key, each.backwards)
            self._unfinished[key] = each
            if key not in planned and each.app in apps_changed:
                raise files.Interrupted(f"Nothing was changed, since first {each}")

    def _on_wait(self, wait: Wait) -> None:
        self._waits.append(wait)
        self._listener.waits(wait)

    def _begins(self, migration: Migration, *, backwards: bool, fake: bool) -> Step:
        self._waits.clear()
        step = Step(migration.app_label, migration.name, backwards=backwards)
        self._listener.begins(step)
        if self.progress_callback:
            self.progress_callback("unapply_start" if backwards else "apply_start", migration, fake)
        return step

    def _ended(self, step: Step, migration: Migration, fake: bool, seconds: float) -> None:
        self._done.append(Done(step, seconds, tuple(self._waits)))
        self._listener.ended(self._done[-1])
        if self.progress_callback:
            action = "unapply_success" if step.backwards else "apply_success"
            self.progress_callback(action, migration, fake)


class _ResumableOperation:
    """An operation that is completed once, however often the run is interrupted."""

    def __init__(
        self, operation: Operation, place: int, journal: files.Journal, waiting: LockRetry
    ) -> None:
        self._operation = operation
        self._place = place
        self._journal = journal
        self._lock_retry = waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._operation, name)

    def database_forwards(self, *args: Any) -> None:
        self._do(self._operation.database_forwards, *args)

    def database_backwards(self, *args: Any) -> None:
        self._do(self._operation.database_backwards, *args)

    def _do(self, change: Callable[..., None], app: str, editor: Any, *states: Any) -> None:
        if self._journal.has(self._place):
            return
        with self._lock_retry.replaying(self._journal.is_interrupted):
            change(app, editor, *states)
            # The editor's deferred statements belong to this operation.
            for statement in editor.deferred_sql:
                editor.execute(statement, None)
            editor.deferred_sql.clear()
        self._journal.add(self._place)


def _what_stays(journal: files.Journal | None) -> str:
    if journal is None:
        return "Nothing of it stays; what was applied before it does."
    done, all_of_it = len(journal.done), len(journal.migration.operations)
    return (
        f"It runs without a transaction: {done} of its {all_of_it} operations are done and stay. "
        f"The next run goes on there."
    )


def _final(state: ProjectState) -> ProjectState:
    """Return the state with the current models of apps without migrations, as `migrate` does."""
    state.clear_delayed_apps_cache()
    models = state.apps
    with models.bulk_update():
        real = [(each.app_label, each.name_lower) for each in models.real_models]
        for key in real:
            models.unregister_model(*key)
    models.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in real])
    return state
