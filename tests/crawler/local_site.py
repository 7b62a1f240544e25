"""A web site on loopback, for tests that read over real sockets."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self


class Answer(NamedTuple):
    """What a path answers with; a redirect names its Location."""

    body: bytes | str = b""
    status: int = 200
    headers: Mapping[str, str] = {}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of 5 some connections would wait a second

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up early is no news."""


Route = Answer | bytes | str | Callable[[Mapping[str, str]], Answer]


class Site:
    """Serves `routes` (request target → answer), 404 for the rest; `asked` lists what was read."""

    def __init__(self, routes: Mapping[str, Route] | None = None) -> None:
        self.routes: dict[str, Route] = dict(routes or {})
        self.asked: list[str] = []
        self._server = Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.authority = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.authority}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                target = self.requestline.split(" ")[1]  # `path` lacks doubled slashes
                site.asked.append(target)
                route = site.routes.get(target, Answer(b"not here", 404))
                if callable(route):
                    route = route(self.headers)
                answer = route if isinstance(route, Answer) else Answer(route)
                body = answer.body.encode() if isinstance(answer.body, str) else answer.body
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Tests are quiet."""

        return Handler
