"""The two formats of log lines, plain and JSON, without secrets."""

import json
import logging
import logging.config
import os
from datetime import UTC, datetime
from typing import Any

from pixsim.core.redaction import LONGEST, redact, redacted

FORMATS = ("plain", "json")


def _line(text: str) -> str:
    """Return `text` without secrets, and without what follows the first LONGEST characters."""
    rest = f"… ({len(text):,} characters)" if len(text) > LONGEST else ""
    return redact(text) + rest


class RedactingFormatter(logging.Formatter):
    """Formats a record with its arguments and traceback, then hides the secrets in the result.

    Halves of surrogate pairs, which file names may contain, are escaped: a UTF-8 stream refuses them,
    and the line would be lost.
    """

    def format(self, record: logging.LogRecord) -> str:
        plain = super().format(record).encode("utf-8", "backslashreplace").decode()
        return _line(plain)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, and its own `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        shown = redacted(line, text=_line)
        # ASCII: also halves of surrogate pairs.
        return json.dumps(shown, default=lambda value: _line(str(value)))


def use_format(name: str) -> None:
    """Use a format from now on, here and in the processes that this one starts."""
    from django.conf import settings

    os.environ["LOG_FORMAT"] = name
    logging_settings: dict[str, Any] = settings.LOGGING
    described = dict(logging_settings["formatters"][name])
    formatter = logging.config.DictConfigurator({}).configure_formatter(described)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
