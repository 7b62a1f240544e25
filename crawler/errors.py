"""What the crawler refuses, and why. Messages are for the person who asked for the crawl."""


class CrawlError(Exception):
    """Anything the crawler refuses or cannot do."""


class BadUrl(CrawlError, ValueError):
    """An address that cannot be fetched as it is written. The message says what is wrong."""


class SourceRefused(CrawlError):
    """A source that cannot be read as it was asked for. Trying again does not help.

    `field` names what to correct: "kind", "location" or "options.<name>".
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class SourceUnavailable(CrawlError):
    """A source that does not answer now. The same read may succeed later.

    `retry_after` is the wait in seconds that the other side asked for, null if it named none.
    `is_pause`: the source is well, and only wants that pause between two requests.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, is_pause: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_pause = is_pause


class JobRefused(CrawlError):
    """A crawl job that cannot be as it was asked for; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class WrongState(CrawlError):
    """A job that is not in the state that was asked of it. Nothing was changed."""
