"""The folders of the embedded services, and the user they run as.

PostgreSQL refuses to run as root. Started by root, the services run as an existing unprivileged
user, in a folder that this user can reach. Folders of other users are never changed.
"""

import hashlib
import importlib.util
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

SERVICE_USERS = ("nobody", "postgres")
SOCKET_PATH_MAX = 103
"""Bytes of a socket's path: 107 on Linux, 103 on macOS."""
LONGEST_SOCKET_NAME = "services/.s.PGSQL.5432"


class PathsError(ImproperlyConfigured):
    """The folder or the user of the services cannot be used; the message says the remedy."""


@dataclass(frozen=True)
class ServicePaths:
    """The folders of the services of one PIXSIM_HOME.

    `folder` and `run` belong to the user who starts the services: lock, logs, the supervisor's
    socket. The folders `services` in them belong to the user the services run as: data, sockets.
    """

    folder: Path
    run: Path
    user: str | None
    """The user to run as; None for the current user."""

    @property
    def data(self) -> Path:
        return self.folder / "services"

    @property
    def sockets(self) -> Path:
        return self.run / "services"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def lock(self) -> Path:
        return self.folder / "supervisor.lock"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def prepare(self) -> None:
        """Create the missing folders. Raise PathsError for folders of other users."""
        ours = os.geteuid()
        theirs, group = ids_of(self.user) if self.user else (ours, -1)
        for folder in (self.folder, self.run):
            _own(folder, owner=ours, mode=0o711 if self.user else 0o700)
        for folder in (self.data, self.sockets):
            _own(folder, owner=theirs, mode=0o700, group=group)
        if self.user and not reachable(self.data, self.user):
            raise PathsError(
                f"The user {self.user}, as whom the embedded services run, cannot reach "
                f"{self.data}. Set PIXSIM_HOME to a folder that it can reach."
            )


def paths_for(home: Path) -> ServicePaths:
    """Return the paths of the services of PIXSIM_HOME = `home`. Create nothing."""
    user = _service_user() if os.geteuid() == 0 else None
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    folder = home / "embedded"
    if user and not reachable(home, user):
        # Not /var/tmp: cleaning that folder would remove single files of a database.
        folder = Path("/var/lib/pixsim") / digest
    run = folder
    if len(os.fsencode(folder / LONGEST_SOCKET_NAME)) > SOCKET_PATH_MAX:
        run = Path("/tmp") / f"pixsim-{os.geteuid()}-{digest}"  # noqa: S108 - its owner is checked
    return ServicePaths(folder=folder, run=run, user=user)


def reachable(path: Path, user: str) -> bool:
    """Return whether `user`, with its primary group, may enter `path` and all folders above it."""
    uid, gid = ids_of(user)
    real = path.resolve()
    for step in (real, *real.parents):
        try:
            found = step.stat()
        except FileNotFoundError:
            continue
        if found.st_uid == uid:
            needed = stat.S_IXUSR
        elif found.st_gid == gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return False
    return True


def ids_of(user: str) -> tuple[int, int]:
    """Return the user id and primary group id of `user`."""
    import pwd  # not on Windows

    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def package_folders(name: str) -> list[Path]:
    """Return the folders of an installed package without importing it; empty if it is missing."""
    found = importlib.util.find_spec(name)
    return [Path(each) for each in found.submodule_search_locations or []] if found else []


def _service_user() -> str:
    import pwd  # not on Windows

    for name in SERVICE_USERS:
        try:
            if pwd.getpwnam(name).pw_uid:
                return name
        except KeyError:
            continue
    raise PathsError(
        "PostgreSQL does not run as root, and this machine has no user "
        f"{' or '.join(SERVICE_USERS)} to run it as. Add one, or set DATABASE_URL."
    )


def _own(folder: Path, *, owner: int, mode: int, group: int = -1) -> None:
    try:
        folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=mode)
        if owner != os.geteuid():
            os.chown(folder, owner, group)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise PathsError(
                f"{folder} belongs to another user (id {found.st_uid}, expected {owner}). It is "
                "left as it is. Set PIXSIM_HOME to a folder of your own, or remove it."
            ) from None
    except OSError as error:
        raise PathsError(
            f"{folder} cannot be made ({error.strerror}). Set PIXSIM_HOME to a folder that you can "
            "write to, or DATABASE_URL and CELERY_BROKER_URL to services of your own."
        ) from error
