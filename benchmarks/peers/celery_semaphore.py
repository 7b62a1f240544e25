"""The peer of the generation benchmark: plain Celery tasks, a semaphore of tokens in Redis.

python -m benchmarks.peers.celery_semaphore JOBS     fills the queue
"""

import json
import os
import sys
import urllib.request

import redis
from celery import Celery

BROKER = os.environ["BROKER"]
app = Celery("peer", broker=BROKER)
app.conf.task_ignore_result = True
app.conf.task_default_queue = "semaphore"
tokens = redis.Redis(unix_socket_path=BROKER.removeprefix("redis+socket://"))
TOKENS = "tokens"


@app.task(name="call")
def call(number: int) -> None:
    _, key = tokens.blpop(TOKENS)
    try:
        body = {
            "operation": "text_to_image", "prompt": f"picture {number}", "reference": f"r{number}",
        }  # fmt: skip
        request = urllib.request.Request(
            f"{os.environ['PROVIDER_URL']}/generations",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {key.decode()}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            json.load(answer)
    finally:
        tokens.rpush(TOKENS, key)


if __name__ == "__main__":
    tokens.delete(TOKENS, "semaphore")
    for account in range(int(os.environ["ACCOUNTS"])):
        tokens.rpush(TOKENS, *[f"test-key-{account}"] * int(os.environ["SLOTS"]))
    with app.producer_pool.acquire() as producer:
        for number in range(int(sys.argv[1])):
            call.apply_async([number], producer=producer)
