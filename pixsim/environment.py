"""Where settings come from: the environment, then `.env`, then files in PIXSIM_HOME.

Used by `pixsim.settings` alone, so nothing here may import Django's settings.
"""

import os
import secrets
import warnings
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from pixsim.embedded.paths import paths_for
from pixsim.embedded.postgres import DATABASE, USER
from pixsim.embedded.redis import SOCKET_NAME, find_redis
from pixsim.env import read_env_file
from pixsim.service_urls import without_secrets

WARNED = "PIXSIM_WARNED_OF_DATABASE_URL"
"""Set for the processes that a command starts, so that they do not warn once more."""


def load_env_file(path: Path) -> tuple[str, str]:
    """Fill what the environment leaves unset, or empty, from the file `path`, if there is one.

    Return where DATABASE_URL comes from; and a warning if both set it and differ, since older
    documentation says that `.env` decides. The same documentation has POSTGRES_PORT: raise
    ImproperlyConfigured if the file has such variables and nothing sets DATABASE_URL.
    """
    given = read_env_file(path)
    ours, theirs = os.environ.get("DATABASE_URL"), given.get("DATABASE_URL")
    if not (ours or theirs):
        _refuse_parts_of_url(path, given)
    if ours and ours != theirs:
        given.pop("DATABASE_DIRECT_URL", None)  # the way to another database than this one
    for name, value in given.items():
        if not os.environ.get(name):
            os.environ[name] = value
    if not theirs or (ours and ours != theirs):
        origin = "DATABASE_URL in the environment"
    else:
        origin = f"DATABASE_URL in {path}"
    warning = ""
    if ours and theirs and ours != theirs:
        warning = (
            f"DATABASE_URL is set in the environment ({without_secrets(ours)}) and differs in "
            f"{path} ({without_secrets(theirs)}). The environment is used; remove one of the two."
        )
        if WARNED not in os.environ:
            warnings.warn(warning, stacklevel=2)
        os.environ[WARNED] = "true"
    return origin, warning


def _refuse_parts_of_url(path: Path, values: dict[str, str]) -> None:
    """Raise ImproperlyConfigured if the file `path` describes a database by variables that nothing
    reads. It does not quote the password."""
    given = {
        name: value
        for name, value in sorted(values.items())
        if name.startswith("POSTGRES_") and value
    }
    if not given:
        return
    host = given.get("POSTGRES_HOST") or given.get("POSTGRES_SERVER") or "127.0.0.1"
    url = (
        f"postgres://{given.get('POSTGRES_USER', 'USER')}:PASSWORD@{host}:"
        f"{given.get('POSTGRES_PORT', '5432')}/{given.get('POSTGRES_DB', 'pixsim')}"
    )
    raise ImproperlyConfigured(
        f"{path} sets {', '.join(given)}, which PixSim does not read, and nothing sets DATABASE_URL: "
        f"write DATABASE_URL={url} there."
    )


def embedded_defaults(
    home: Path, *, database_url: str, broker_url: str
) -> tuple[str, str, list[str]]:
    """Fill in the URL that is empty, or both, with the embedded services of PIXSIM_HOME = `home`.

    Return the database URL, the broker URL and which servers they need ("postgres", "redis").
    Without a Redis to run, Celery's filesystem broker needs no server.
    """
    if os.name == "nt":
        if not database_url:
            raise ImproperlyConfigured(
                "DATABASE_URL is not set, and the embedded PostgreSQL runs on Linux and macOS only."
            )
        return database_url, f"filesystem:///{(home / 'broker').as_posix()}", []
    paths = paths_for(home)
    services = []
    if not database_url:
        database_url = f"postgres://{USER}@/{DATABASE}?host={paths.sockets}"
        services.append("postgres")
    if not broker_url and find_redis():
        password = kept_secret(home / "redis_password", secrets.token_hex(32))
        broker_url = f"redis+socket://:{password}@{paths.sockets / SOCKET_NAME}"
        services.append("redis")
    return database_url, broker_url or f"filesystem://{home / 'broker'}", services


def require(name: str, value: object, *, hint: str) -> None:
    """Raise ImproperlyConfigured if `value` is empty: production has no default for it."""
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set, and DEBUG is off. {hint} Set it in the environment or in .env "
            "(see .env.example)."
        )


def kept_secret(path: Path, new: str) -> str:
    """Return the secret in the file `path` (mode 0600); make the file of `new` if there is none.

    When two processes make it at once, both return the same secret.
    """
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(new)
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The development secret {path} cannot be read or made ({error.strerror}). Set "
            f"{path.name.upper()} in the environment, or PIXSIM_HOME to a folder of your own."
        ) from error
