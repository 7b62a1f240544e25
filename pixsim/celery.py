"""The Celery application.

Messages are doorbells only (see `jobs.queue`), so Celery's defaults serve: one queue, no beat.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")

app = Celery("pixsim")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# By name: it may be imported only when the apps are loaded, which a worker has done by then.
app.steps["worker"].add("jobs.queue.worker.bootstep:SweeperStep")
