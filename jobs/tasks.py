"""Celery entry points of the queue."""

from typing import Any

from celery import shared_task

from jobs.queue.worker import notify
from jobs.queue.worker.loop import run_worker_loop


@shared_task(name=notify.WORK_TASK, bind=True, ignore_result=True)
def work(self: Any) -> int:
    """Run the worker loop; return how many items were claimed."""
    return run_worker_loop(task_id=self.request.id)
