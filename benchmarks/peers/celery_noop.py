"""Celery on Redis with a task that does nothing, as its documentation shows it.

celery_noop.py BROKER enqueue N        seconds for N apply_async calls
celery -A benchmarks.peers.celery_noop worker   with BROKER in the environment
"""

import os
import sys
import time

from celery import Celery

app = Celery("peer", broker=os.environ.get("BROKER") or sys.argv[1])
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 4


@app.task
def noop(number: int) -> None:
    """Nothing."""


if __name__ == "__main__":
    count = int(sys.argv[3])
    noop.delay(0)  # the connection is made before the clock starts
    begun = time.perf_counter()
    for number in range(count):
        noop.apply_async((number,), ignore_result=True)
    print(time.perf_counter() - begun)
