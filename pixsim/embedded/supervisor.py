"""The supervisor: the process that runs the embedded servers of a PIXSIM_HOME.

It starts a server when a client first needs it, counts clients by their open connections, and
ends, servers first, when it has had no client for a while. `python -m pixsim.embedded.supervisor` detaches
itself and returns as soon as clients can connect.

A request is one line of JSON, and so is its answer: {"do": "need", "services": ["postgres"]},
{"do": "keep", …} (run until stopped), {"do": "status"}, {"do": "stop", "force": false}.
An answer with "error" says why it was refused.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from pixsim.embedded.paths import ServicePaths
from pixsim.embedded.postgres import Postgres
from pixsim.embedded.redis import PASSWORD_VARIABLE, Redis
from pixsim.embedded.servers import Server, ServerError

TICK_SECONDS = 0.5


class Supervisor:
    """Serve requests in one thread, one after the other."""

    def __init__(
        self, paths: ServicePaths, listener: socket.socket, *, idle_seconds: float
    ) -> None:
        self.paths = paths
        self.idle_seconds = idle_seconds
        self.kept = False
        self.stopping = False
        self.servers: dict[str, Server] = {
            server.name: server
            for server in (Postgres(paths), Redis(paths, os.environ.get(PASSWORD_VARIABLE, "")))
        }
        self._clients: set[socket.socket] = set()
        self._wanted: set[str] = set()
        self._idle_since = time.monotonic()
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until stopped, idle too long, or its folder is removed."""
        try:
            while not self.stopping and not self._unused() and self.paths.lock.exists():
                for key, _ in self._selector.select(TICK_SECONDS):
                    if key.fileobj is self._listener:
                        connection, _ = self._listener.accept()
                        self._selector.register(connection, selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket):
                        self._serve(key.fileobj)
                self._restart_dead()
        finally:
            self._listener.close()
            self.paths.supervisor_socket.unlink(missing_ok=True)
            self._stop_servers()

    def _serve(self, connection: socket.socket) -> None:
        try:
            line = connection.recv(4096)
            if line:
                answer = self._answer(connection, json.loads(line))
                connection.sendall(json.dumps(answer).encode() + b"\n")
                return
        except (OSError, ValueError):
            # A client that died while it wrote, or a foreign one: the same as one that disconnected.
            line = b""
        self._close(connection)

    def _answer(self, connection: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "need" | "keep" as wish:
                try:
                    for name in request["services"]:
                        self.servers[name].start()
                        self._wanted.add(name)
                except (ServerError, OSError) as error:
                    return {"error": str(error)}
                if wish == "need":
                    self._clients.add(connection)
                self.kept = self.kept or wish == "keep"
            case "stop":
                self._close_dead()
                if self._clients and not request.get("force"):
                    return {"error": "in use", **self._status()}
                self._stop_servers()
                self.stopping = True
        return self._status()

    def _status(self) -> dict[str, Any]:
        return {
            "supervisor": os.getpid(),
            "kept": self.kept,
            "idle_seconds": self.idle_seconds,
            "clients": sorted(_peer_pid(connection) for connection in self._clients),
            "services": {
                name: {"pid": server.pid, "version": server.version, "log": str(server.log)}
                for name, server in self.servers.items()
                if server.alive
            },
        }

    def _restart_dead(self) -> None:
        """Start dead servers again. After a failure wait until a client asks again."""
        for name in sorted(self._wanted):
            if not self.stopping and not self.servers[name].alive:
                try:
                    self.servers[name].start()
                except (ServerError, OSError) as error:
                    self._wanted.discard(name)
                    sys.stderr.write(f"{error}\n")

    def _stop_servers(self) -> None:
        for server in self.servers.values():
            server.stop()

    def _unused(self) -> bool:
        if self._clients or self.kept:
            self._idle_since = time.monotonic()
        return time.monotonic() - self._idle_since > self.idle_seconds

    def _close_dead(self) -> None:
        for connection in list(self._clients):
            try:
                gone = not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._clients.discard(connection)
        self._selector.unregister(connection)
        connection.close()


def _peer_pid(connection: socket.socket) -> int:
    """Return the process that opened the connection; 0 where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("iII", credentials)[0])


def _detach(log: Path) -> None:
    """Detach from the caller's session, terminal and pipes."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    with log.open("ab") as out, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)


def main(folder: str, run: str, user: str, idle_seconds: str) -> None:
    """Become the supervisor of these paths, unless there is one."""
    paths = ServicePaths(folder=Path(folder), run=Path(run), user=user or None)
    lock = paths.lock.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    paths.supervisor_socket.unlink(missing_ok=True)
    os.umask(0o077)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(paths.supervisor_socket))
    listener.listen(64)
    _detach(paths.log("supervisor"))
    supervisor = Supervisor(paths, listener, idle_seconds=float(idle_seconds))

    def stop(number: int, frame: object) -> None:
        supervisor.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
