"""The web server, the same wherever the site runs: granian, with times for slow clients.

A request's headers must be there in HEADER_SECONDS, counted from the connection or from the answer
before, so that connections which send a byte now and then end. `pixsim.web.bodies` does the same
for bodies.
"""

import sys

HEADER_SECONDS = 10
HEADER_BYTES = 64 * 1024


def command(host: str, port: int, *, workers: int = 1) -> list[str]:
    """Return the command that serves the site."""
    options = {
        "--interface": "asginl",
        "--http": "1",
        "--host": host,
        "--port": str(port),
        "--workers": str(workers),
        "--http1-header-read-timeout": str(HEADER_SECONDS * 1000),
        "--http1-buffer-size": str(HEADER_BYTES),
        # A stop waits so long for requests that go on.
        "--workers-kill-timeout": "5",
    }
    words = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "granian", *words, "--no-ws", "pixsim.asgi:application"]
