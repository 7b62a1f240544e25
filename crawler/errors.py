"""The crawler's errors. Messages are for the person who asked for the crawl."""


class CrawlError(Exception):
    """Base of the crawler's errors."""


class FieldRefused(CrawlError):
    """A value that cannot be accepted; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class SourceRefused(FieldRefused):
    """A source that cannot be read as it was asked for. Reading it again does not help.

    `field` is "kind", "location" or "options.<name>".
    """


class JobRefused(FieldRefused):
    """A crawl job that cannot be accepted as it was asked for."""


class SourceUnavailable(CrawlError):
    """A source that does not answer now. Reading it again may succeed.

    `retry_after` is the wait in seconds that the server asked for, None if it named none.
    `is_pause`: the source answers, and only asks for this pause between two requests.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, is_pause: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_pause = is_pause


class WrongState(CrawlError):
    """A row is not in the state that the call needs. Nothing was changed."""
