"""What can go wrong with a work item."""


class QueueError(Exception):
    """Base of the queue's own errors."""


class LeaseLost(QueueError):
    """Somebody else holds the item now, or it has ended: drop what you have, write nothing."""


class TryAgain(QueueError):
    """A failed attempt whose reason is known and may pass; the message is for people."""


class Unrecoverable(QueueError):
    """Trying again cannot help; the item ends as failed with this message."""


def in_one_line(error: BaseException) -> str:
    """An error's message for the log: libpq's have several lines."""
    return " ".join(str(error).split())
