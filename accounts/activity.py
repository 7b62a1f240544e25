"""Writing the activity log, and with it the History that the admin shows of a row."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.text import capfirst

from accounts.models import ActivityLog, Profile
from pixsim.core.redaction import redact, redacted

ADDED = ("added", "created", "uploaded")
MAX_HISTORIES = 1000
"""What is done to more rows at once stands in the activity log only."""


def record(
    *,
    actor: Profile | None,
    action: str,
    resource_type: str = "",
    resource_id: str = "",
    resource_ids: Sequence[int] = (),
    request_id: str = "",
    in_history: bool = True,
    **metadata: Any,
) -> None:
    """Append an entry in the caller's transaction: it commits or rolls back with the change.

    `actor` None is the system. `action` is `thing.what_happened`; `metadata` are JSON values. What a
    person did stands in the History of the row, or of the rows `resource_ids`, too, unless it is there
    already (`in_history` false).
    """
    ActivityLog.objects.create(
        user=actor,
        action=action,
        resource_type=resource_type or None,
        resource_id=resource_id or None,
        # A client's header may be too long, and the change must not fail because of that.
        request_id=request_id[:64] or None,
        metadata=redacted(metadata) or None,
    )
    model = _model_of(resource_type)
    user_id = actor.user_id if actor else None
    if in_history and model is not None and user_id is not None:
        what = action.rpartition(".")[2]
        _add_to_histories(user_id, model, resource_ids or [resource_id], what, metadata)


def record_change(
    resource_type: str, resource_id: object, what: str, *, actor: Profile | None, **metadata: Any
) -> None:
    """Record that `what` happened to one row, as the action `resource_type.what`."""
    record(
        actor=actor,
        action=f"{resource_type}.{what}",
        resource_type=resource_type,
        resource_id=str(resource_id),
        **metadata,
    )


def resource_type_of(model: type[Model]) -> str:
    return str(model._meta.verbose_name).replace(" ", "_").lower()


@cache
def _model_of(resource_type: str) -> type[Model] | None:
    """Return the model whose rows a type of resources are; None: they are no rows."""
    found = (model for model in apps.get_models() if resource_type_of(model) == resource_type)
    return next(found, None)


def _add_to_histories(
    user_id: int,
    model: type[Model],
    keys: Sequence[object],
    what: str,
    metadata: Mapping[str, Any],
) -> None:
    try:
        keys = [model._meta.pk.to_python(key) for key in keys]
    except ValidationError:  # the log names it in another way
        return
    if len(keys) > MAX_HISTORIES:
        return
    content_type = ContentType.objects.get_for_model(model)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=user_id,
            content_type=content_type,
            object_id=str(key),
            object_repr=f"{capfirst(model._meta.verbose_name)} {key}",
            action_flag=ADDITION if what in ADDED else CHANGE,
            change_message=_sentence(what, metadata),
        )
        for key in keys
    )


def _sentence(what: str, metadata: Mapping[str, Any]) -> str:
    """Return "Priority changed: priority 7"."""
    values = [f"{name.replace('_', ' ')} {_text(value)}" for name, value in metadata.items()]
    words = capfirst(what.replace("_", " ")) + (f": {'; '.join(values)}" if values else "")
    return redact(f"{words}.")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
