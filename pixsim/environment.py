"""Reads settings from the environment, then from `.env`, then from files in PIXSIM_HOME.

Used by `pixsim.settings` alone, so nothing here may import Django's settings.
"""

import base64
import os
import secrets
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured


class _DotEnv(environ.Env):
    """A reader that keeps the file's values apart from the process environment."""

    ENVIRON: ClassVar[dict[str, str]] = {}


def load_env_file(path: Path) -> None:
    """Fill what the environment leaves unset, or empty, from the file `path`, if there is one.

    Warns when both set DATABASE_URL and differ: older documentation says that `.env` decides.
    """
    if not path.is_file():
        return
    _DotEnv.read_env(path, overwrite=True)
    if message := database_url_warning(path):
        warnings.warn(message, stacklevel=2)
    for name, value in _DotEnv.ENVIRON.items():
        if not os.environ.get(name):
            os.environ[name] = value


def database_url_warning(path: Path) -> str:
    """Return a warning if the environment and the file `path` name different databases.

    Call it after the file was read.
    """
    ours, theirs = os.environ.get("DATABASE_URL"), _DotEnv.ENVIRON.get("DATABASE_URL")
    if not (ours and theirs) or ours == theirs:
        return ""
    return (
        f"DATABASE_URL is set in the environment ({describe_url(ours)}) and differs in {path} "
        f"({describe_url(theirs)}). The environment is used; remove one of the two."
    )


def database_url_origin(path: Path) -> str:
    """Return where DATABASE_URL came from. Call it after the file `path` was read."""
    ours, theirs = os.environ.get("DATABASE_URL"), _DotEnv.ENVIRON.get("DATABASE_URL")
    return f"DATABASE_URL in {path if theirs and ours == theirs else 'the environment'}"


def describe_url(url: str) -> str:
    """Return scheme, host and path of a URL, without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://…@{parts.netloc.rpartition('@')[2]}{parts.path}"


def database_from_url(url: str) -> dict[str, Any]:
    """Return the settings of the PostgreSQL database that `url` names.

    Raise ImproperlyConfigured without quoting the URL: where a password is not escaped as URLs
    demand, every part of the URL may contain it.
    """
    try:
        if urlsplit(url).scheme in ("postgres", "postgresql"):
            config: dict[str, Any] = environ.Env.db_url_config(url)
            return config
    except ValueError:  # the port is not a number
        pass
    raise ImproperlyConfigured(
        "DATABASE_URL must name a PostgreSQL database: postgres://user:password@host:5432/name. "
        "In a password / is written %2F, # is %23, @ is %40, and % is %25."
    )


def required(name: str, value: Any, *, hint: str) -> Any:
    """Return `value`. Raise ImproperlyConfigured if it is empty: production has no default for it."""
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set, and DEBUG is off. {hint} Set it in the environment or in .env "
            f"(see .env.example)."
        )
    return value


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in the file `path` (mode 0600); make the file if there is none.

    When two processes make it at once, both return the same secret.
    """
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(make())
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


def new_secret_key() -> str:
    """Return a new value for SECRET_KEY."""
    return secrets.token_urlsafe(50)


def new_credentials_key() -> str:
    """Return a new Fernet key, as `cryptography.fernet.Fernet.generate_key` makes it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def broker_options(url: str, *, timeout: float) -> dict[str, Any]:
    """Return Celery's transport options for a broker URL.

    Sending to a broker that does not answer within `timeout` seconds fails without a retry, so that
    a notification never delays a request. Workers reconnect by themselves, without an end.
    """
    scheme = urlsplit(url).scheme
    if scheme == "filesystem":
        folder = Path(urlsplit(url).path)
        folders = {"data_folder_in": folder / "queue", "processed_folder": folder / "done"}
        for each in folders.values():
            try:
                each.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ImproperlyConfigured(
                    f"The folder {each} of CELERY_BROKER_URL cannot be made ({error.strerror})."
                ) from error
        return {
            "data_folder_in": str(folders["data_folder_in"]),
            # Clients write to the folder from which workers read.
            "data_folder_out": str(folders["data_folder_in"]),
            "processed_folder": str(folders["processed_folder"]),
            "control_folder": str(folder / "control"),
            "store_processed": False,
            "polling_interval": 0.02,
        }
    once = {"max_retries": 0, "interval_start": 0}
    if scheme.startswith("redis"):
        return {"socket_connect_timeout": timeout, "socket_timeout": timeout, **once}
    return once
