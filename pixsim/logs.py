"""The two formats of log lines, plain and JSON, without secrets."""

import json
import logging
import logging.config
import os
import re
from datetime import UTC, datetime
from typing import Any

FORMATS = ("plain", "json")

# scheme://user:password@host, and name=value or "name": "value" where the name stands for a secret.
_URL_PASSWORD = re.compile(
    r"(?P<before>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s'\"]+(?=@)", re.IGNORECASE
)
_NAMED_SECRET = re.compile(
    r"(?P<before>\b(?:[\w-]*(?:password|passwd|secret|token|api_?key|credentials))['\"]?\s*[=:]\s*['\"]?)"
    r"(?P<value>[^\s'\",;&)}\]]+)",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(?P<before>\bauthorization['\"]?\s*[=:]\s*['\"]?(?:\w+ )?)[^\s'\",]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return `text` with `***` for the passwords of URLs and the values of secret-looking names."""
    for pattern in (_URL_PASSWORD, _AUTHORIZATION, _NAMED_SECRET):
        text = pattern.sub(r"\g<before>***", text)
    return text


class RedactingFormatter(logging.Formatter):
    """Formats a record with its arguments and traceback, then hides the secrets in the result.

    Halves of surrogate pairs, which file names may contain, are escaped: a UTF-8 stream refuses them,
    and the line would be lost.
    """

    def format(self, record: logging.LogRecord) -> str:
        plain = super().format(record).encode("utf-8", "backslashreplace").decode()
        return redact(plain)


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
        redacted = {
            name: redact(value) if isinstance(value, str) else value for name, value in line.items()
        }
        return json.dumps(redacted, default=str)  # ASCII: also halves of surrogate pairs


def use_format(name: str) -> None:
    """Use a format from now on, here and in the processes that this one starts."""
    from django.conf import settings

    os.environ["LOG_FORMAT"] = name
    logging_settings: dict[str, Any] = settings.LOGGING
    described = dict(logging_settings["formatters"][name])
    formatter = logging.config.DictConfigurator({}).configure_formatter(described)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
