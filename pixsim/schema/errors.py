"""Refusals of `manage.py db`: one clear message each, and the exit code."""

FINE, WRONG, USAGE = 0, 1, 2
"""Exit codes: fine; something to do, or wrong; a command that was not understood."""


class SchemaError(Exception):
    """A refusal. The message says what happened, what was kept and what to do next."""

    exit_code = WRONG


class UsageError(SchemaError):
    """The command's arguments are wrong: an unknown target, a step of zero."""

    exit_code = USAGE


class Declined(SchemaError):
    """A question was answered with no, or could not be asked. Nothing was changed."""
