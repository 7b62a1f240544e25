"""How urgent work is: the range of priorities, the default, and the one check."""

MIN_PRIORITY, DEFAULT_PRIORITY, MAX_PRIORITY = 0, 5, 10

PRIORITIES = tuple(range(MAX_PRIORITY, MIN_PRIORITY - 1, -1))
"""All of them, the most urgent first."""

PRIORITY_HELP = f"{MIN_PRIORITY} to {MAX_PRIORITY}; higher is more urgent."


def check_priority(priority: int) -> None:
    """Raise ValueError, with a message for people, if there is no such priority."""
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise ValueError(f"must be from {MIN_PRIORITY} to {MAX_PRIORITY}, not {priority}.")


def priority_of(text: str) -> int | None:
    """Return the priority that a form sent, or None if `text` is no priority."""
    return int(text) if text in {str(priority) for priority in PRIORITIES} else None
