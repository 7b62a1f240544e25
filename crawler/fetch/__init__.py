"""Fetching: candidate addresses in, checked, hashed and stored pictures out.

    session = Engine.shared().session(Rules.from_options(job.options))
    session.submit(tasks)
    while session.in_flight:
        for result in session.collect(timeout=0.1):
            ...

The decoder process imports this package, so it imports nothing heavy; `Engine`,
`HostLimits`, `Session`, `StorageFull` and `EngineFailed` are loaded when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from crawler.fetch.tasks import Picture, Refused, Rules, RulesError, Task

if TYPE_CHECKING:
    from crawler.fetch.engine import Engine
    from crawler.fetch.hosts import HostLimits
    from crawler.fetch.sessions import EngineFailed, Session, StorageFull

__all__ = [
    "Engine",
    "EngineFailed",
    "HostLimits",
    "Picture",
    "Refused",
    "Rules",
    "RulesError",
    "Session",
    "StorageFull",
    "Task",
]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from crawler.fetch.engine import Engine

        return Engine
    if name == "HostLimits":
        from crawler.fetch.hosts import HostLimits

        return HostLimits
    if name in ("EngineFailed", "Session", "StorageFull"):
        from crawler.fetch import sessions

        return getattr(sessions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
