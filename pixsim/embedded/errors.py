"""The one error of the embedded services."""

from django.core.management import CommandError
from django.db import OperationalError


class EmbeddedServiceError(OperationalError, CommandError):
    """An embedded service cannot be had; the message says why and what to do next.

    To code it is a database that does not answer, to a person at `manage.py` a plain message.
    """
