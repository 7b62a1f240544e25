"""The backend that has the embedded services started before it connects."""

from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base

from pixsim.embedded import client


class DatabaseWrapper(base.DatabaseWrapper):
    """Starts nothing until something connects, so commands without a database stay quick."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        client.need(*settings.EMBEDDED_SERVICES)
        return super().get_new_connection(conn_params)
