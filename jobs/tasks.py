"""Celery entry points of the queue."""

from typing import Any

from celery import shared_task

from jobs.queue.worker import notify
from jobs.queue.worker.loop import drain


@shared_task(name=notify.DRAIN_TASK, bind=True, ignore_result=True)
def drain_queue(self: Any) -> int:
    """Answer the doorbell; the number of items finished."""
    return drain(task_id=self.request.id)
