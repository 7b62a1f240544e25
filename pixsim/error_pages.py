"""What the page of an error, and a mail about it, show of settings and requests."""

from typing import Any

from django.views.debug import SafeExceptionReporterFilter

from pixsim.core.redaction import MASK, is_secret, redact


class Filter(SafeExceptionReporterFilter):
    """Hides what log lines hide, in addition to what Django hides."""

    cleansed_substitute = MASK

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        """Return the value to show of a setting, header or parameter, at any depth."""
        if isinstance(key, str) and is_secret(key, value):
            return MASK
        shown = super().cleanse_setting(key, value)
        return redact(shown) if isinstance(shown, str) else shown
