"""Health checks, for load balancers and orchestrators: /health/live and /health/ready."""

from dataclasses import dataclass, field
from typing import Any

from celery import current_app
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from pixsim.core.caching import CachedFor
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import load_migrations, pending

CACHE_SECONDS = 1.0
"""Probes ask for readiness at most so often, whoever sends them."""


@dataclass(frozen=True)
class Check:
    """Whether one thing that the site needs is there; `missing` names parts that are not."""

    ok: bool
    message: str = ""
    missing: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        told = {"message": self.message, "missing": self.missing}
        return {"ok": self.ok, **{name: value for name, value in told.items() if value}}


def live(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as this process answers at all; nothing else is asked."""
    return JsonResponse({"status": "live"})


def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 if requests can be served, else 503; the JSON says what is missing.

    Without the broker the site is degraded, but ready: workers find their work without it.
    """
    checks = readiness()
    served = checks["database"].ok and checks["migrations"].ok
    status = "not ready" if not served else "ready" if checks["broker"].ok else "degraded"
    answer = {"status": status, "checks": {name: one.as_dict() for name, one in checks.items()}}
    return JsonResponse(answer, status=200 if served else 503)


def _check_all() -> dict[str, Check]:
    return {**_check_database(), "broker": _check_broker()}


readiness = CachedFor(CACHE_SECONDS, _check_all)


def _check_database() -> dict[str, Check]:
    """Return the checks of the database and its migrations. The answers name no host and no user."""
    try:
        missing = [".".join(key) for key in pending(load_migrations(connection))]
    except DatabaseError:
        away = Check(False, "The database does not answer.")
        return {"database": away, "migrations": Check(False, "Unknown without the database.")}
    except SchemaError:
        migrations = Check(False, "The history is broken: see `manage.py db status`.")
    else:
        message = "Not all are applied: run `manage.py migrate`." if missing else ""
        migrations = Check(not missing, message, missing)
    return {"database": Check(True), "migrations": migrations}


def _check_broker() -> Check:
    try:
        with current_app.connection_for_write() as broker:
            broker.default_channel  # noqa: B018  connects, within BROKER_TIMEOUT
    except Exception:  # whatever the transport raises
        return Check(False, "The broker does not answer. Work goes on without notifications.")
    return Check(True)
