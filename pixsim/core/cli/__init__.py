"""What the commands of all apps share: exit codes, JSON, waiting, progress, tables, formats."""

from pixsim.core.cli.command import (
    Command,
    ExitCode,
    UsageError,
    add_json_flag,
    database_errors,
    positive_seconds,
    split_pair,
)
from pixsim.core.formats import first_line, format_duration, format_size

__all__ = [
    "Command",
    "ExitCode",
    "UsageError",
    "add_json_flag",
    "database_errors",
    "first_line",
    "format_duration",
    "format_size",
    "positive_seconds",
    "split_pair",
]
