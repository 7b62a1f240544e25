"""Where the embedded services live and as whom they run.

PostgreSQL refuses to run as root. Started by root, the services run as an existing unprivileged
user, in a folder that this user can reach; nobody else's folders are ever changed for that.
"""

import hashlib
import importlib.util
import os
import stat
from dataclasses import dataclass
from pathlib import Path

SERVICE_USERS = ("nobody", "postgres")
SOCKET_PATH_MAX = 103
"""Bytes of a socket's path: 107 on Linux, 103 on macOS."""
LONGEST_SOCKET_NAME = "services/.s.PGSQL.5432"


class PlaceError(Exception):
    """The folder or the user of the services cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """The folders of the services of one PIXSIM_HOME.

    `folder` and `run` belong to whoever starts the services: lock, logs, the keeper's socket. The
    folders `services` in them belong to the user the services run as: data and their sockets.
    """

    folder: Path
    run: Path
    user: str | None
    """The user to run as, or None for the user we are."""

    @property
    def data(self) -> Path:
        return self.folder / "services"

    @property
    def sockets(self) -> Path:
        return self.run / "services"

    @property
    def keeper_socket(self) -> Path:
        return self.run / "keeper.sock"

    @property
    def lock(self) -> Path:
        return self.folder / "keeper.lock"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def prepare(self) -> None:
        """Make the folders that are missing; refuse those that belong to somebody else."""
        ours = os.geteuid()
        theirs, group = ids_of(self.user) if self.user else (ours, -1)
        for folder in (self.folder, self.run):
            _own(folder, owner=ours, mode=0o711 if self.user else 0o700)
        for folder in (self.data, self.sockets):
            _own(folder, owner=theirs, mode=0o700, group=group)
        if self.user and not reachable(self.data, self.user):
            raise PlaceError(
                f"The user {self.user}, as whom the embedded services run, cannot reach "
                f"{self.data}. Set PIXSIM_HOME to a folder that it can reach."
            )


def place_for(home: Path) -> Place:
    """The place of the services of PIXSIM_HOME = `home`. Makes nothing."""
    user = _service_user() if os.geteuid() == 0 else None
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    folder = home / "embedded"
    if user and not reachable(home, user):
        # Not /var/tmp: what cleans that up would take single files out of a database.
        folder = Path("/var/lib/pixsim") / digest
    run = folder
    if len(os.fsencode(folder / LONGEST_SOCKET_NAME)) > SOCKET_PATH_MAX:
        run = Path("/tmp") / f"pixsim-{os.geteuid()}-{digest}"  # noqa: S108 - its owner is checked
    return Place(folder=folder, run=run, user=user)


def reachable(path: Path, user: str) -> bool:
    """Whether `user` (with its primary group alone) may enter `path` and all folders above it."""
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
    """The user id and primary group id of `user`."""
    import pwd  # not on Windows

    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def package_folders(name: str) -> list[Path]:
    """The folder of an installed package, found without importing it; empty if it is not there."""
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
    raise PlaceError(
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
            raise PlaceError(
                f"{folder} belongs to another user (id {found.st_uid}, expected {owner}). It is "
                "left as it is. Set PIXSIM_HOME to a folder of your own, or remove it."
            ) from None
    except OSError as error:
        raise PlaceError(
            f"{folder} cannot be made ({error.strerror}). Set PIXSIM_HOME to a folder that you can "
            "write to, or DATABASE_URL and CELERY_BROKER_URL to services of your own."
        ) from error
