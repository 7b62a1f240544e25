"""The site for the server of `test_slow_clients.py`: bodies must be there within a second."""

from pixsim.asgi import application as application
from pixsim.web import bodies

bodies.FIRST_SECONDS = 1.0
