"""The Celery application.

Messages only notify workers (see `jobs.queue`), so Celery's defaults suffice: one queue, no beat.
"""

import logging
import os
import sys
from typing import Any

from celery import Celery, signals
from click import Choice, Option
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from kombu.transport import TRANSPORT_ALIASES

from pixsim import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")
try:
    settings.DEBUG  # noqa: B018  reads them all
except ImproperlyConfigured as error:  # what to set stands in the message
    sys.exit(f"Settings: {error}")

# By name, since the one can be imported only where files can be locked, the other needs a library.
TRANSPORT_ALIASES |= {
    "filesystem": "pixsim.core.filesystem_broker:Transport",
    "redis": "pixsim.core.redis_broker:Transport",
    "rediss": "pixsim.core.redis_broker:Transport",
    "sentinel": "pixsim.core.redis_broker:SentinelTransport",
}
app = Celery("pixsim")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# By name, since it can be imported only after the apps are loaded, as they are in a worker.
app.steps["worker"].update(
    f"jobs.queue.worker.bootstep:{name}" for name in ("SweeperStep", "MetricsStep")
)
app.user_options["worker"].add(
    Option(["--metrics-port"], type=int, help="Serve the worker's own /metrics (or METRICS_PORT).")
)
app.user_options["preload"].add(
    Option(
        ["--log-format"],
        type=Choice(logs.FORMATS),
        help="How log lines look (default: LOG_FORMAT, or plain).",
    )
)


@signals.user_preload_options.connect
def _use_log_format(options: dict[str, Any], **kwargs: Any) -> None:
    if name := options.get("log_format"):
        logs.use_format(name)


@signals.setup_logging.connect
def _log_as_django_does(loglevel: int, logfile: str | None, **kwargs: Any) -> None:
    """Keep Django's handlers, which hide secrets, in place of Celery's own."""
    root = logging.getLogger()
    root.setLevel(loglevel)
    if logfile:
        handler = logging.FileHandler(logfile)
        handler.setFormatter(root.handlers[0].formatter)
        root.handlers = [handler]
