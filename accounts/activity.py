"""Writing the activity log."""

from typing import Any

from accounts.models import ActivityLog, Profile


def record(
    *,
    actor: Profile | None,
    action: str,
    resource_type: str = "",
    resource_id: str = "",
    request_id: str = "",
    **metadata: Any,
) -> None:
    """Append one line, in the caller's transaction: it stands if and only if what it tells stands.

    `actor` None is the system. `action` is `thing.what_happened`; `metadata` are JSON values.
    """
    ActivityLog.objects.create(
        user=actor,
        action=action,
        resource_type=resource_type or None,
        resource_id=resource_id or None,
        # It may come from a client's header; an over-long one must not undo what it tells of.
        request_id=request_id[:64] or None,
        metadata=metadata or None,
    )
