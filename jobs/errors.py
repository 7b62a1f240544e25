"""What generation refuses, and why. Messages are for the person who asked."""


class GenerationError(Exception):
    """Anything that generation refuses or cannot do."""


class GenerationRefused(GenerationError):
    """A job that cannot be as it was asked for; `errors` maps each field to what is wrong."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "; ".join(f"{field}: {text}" for field, text in self.errors.items())


class WrongState(GenerationError):
    """A job that is not in the state that was asked of it. Nothing was changed."""


class BadOutput(GenerationError):
    """A provider's file that cannot be fetched, or is not what it should be."""
