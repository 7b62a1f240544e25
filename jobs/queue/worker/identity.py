"""The name under which this process claims items: what people see in pages, logs and metrics."""

import os
import socket

NODE_VARIABLE = "PIXSIM_WORKER_NODE"
"""Tells a worker's fallback processes its name."""

_node = os.environ.get(NODE_VARIABLE) or f"work@{socket.gethostname()}"


def set_node(name: str) -> None:
    """Use a Celery worker's node name. Call it in the parent, before it forks."""
    global _node
    _node = name


def node() -> str:
    """Return the worker's name, `name@host`."""
    return _node


def process_name() -> str:
    """Return `name@host:pid`, the name of this process."""
    return f"{_node}:{os.getpid()}"
