"""The format of log lines, without secrets."""

import logging
import re

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
