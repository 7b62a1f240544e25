"""Writing the activity log."""

from typing import Any

from accounts.models import ActivityLog, Profile
from pixsim.core.redaction import redacted


def record(
    *,
    actor: Profile | None,
    action: str,
    resource_type: str = "",
    resource_id: str = "",
    request_id: str = "",
    **metadata: Any,
) -> None:
    """Append an entry in the caller's transaction: it commits or rolls back with the change.

    `actor` None is the system. `action` is `thing.what_happened`; `metadata` are JSON values.
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
