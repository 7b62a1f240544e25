"""The Celery application.

Messages only notify workers (see `jobs.queue`), so Celery's defaults suffice: one queue, no beat.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")

app = Celery("pixsim")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# By name, since it can be imported only after the apps are loaded, as they are in a worker.
app.steps["worker"].add("jobs.queue.worker.bootstep:SweeperStep")
