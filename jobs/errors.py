"""Errors of generation. Their messages are for the person who asked."""


class GenerationError(Exception):
    """Generation refuses or cannot do something."""


class GenerationRefused(GenerationError):
    """A job cannot be created as it was asked for; `errors` maps each field to what is wrong."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "; ".join(f"{field}: {text}" for field, text in self.errors.items())


class WrongState(GenerationError):
    """A job is in a state that does not allow the action. Nothing was changed."""


class BadOutput(GenerationError):
    """A file is not of the kind that it should be."""
