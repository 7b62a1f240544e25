"""The project as a Django app: its commands and checks, and the embedded broker for workers."""

from typing import Any

from celery.signals import worker_init
from django.apps import AppConfig
from django.conf import settings
from django.db.backends.signals import connection_created

from pixsim import celery  # noqa: F401  `shared_task` needs the app in every process
from pixsim.core.cli.spelling import accept_hyphens


class PixsimConfig(AppConfig):
    name = "pixsim"

    def ready(self) -> None:
        from pixsim import pooler_checks, setting_checks  # noqa: F401  registers them
        from pixsim.core.db import sessions
        from pixsim.invariants import PixsimPlugin  # the registry of apps must be complete
        from pixsim.schema import plugins

        accept_hyphens()
        plugins.register(PixsimPlugin())
        connection_created.connect(sessions.begin, dispatch_uid="pixsim.sessions")
        if settings.EMBEDDED_SERVICES:
            worker_init.connect(_need_services, dispatch_uid="pixsim.embedded")


def _need_services(**_: Any) -> None:
    """Start the services before the worker connects to its broker."""
    from pixsim.embedded import client  # POSIX only, like the services

    client.need(*settings.EMBEDDED_SERVICES)
