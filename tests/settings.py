"""The project's settings for its tests: a home of their own, and password hashes that cost nothing."""

import os
from pathlib import Path

# The processes that tests start inherit these, so that none meets what `make up` keeps in .pixsim.
os.environ["PIXSIM_HOME"] = str(Path(__file__).resolve().parents[1] / ".pixsim" / "test")
os.environ.setdefault("EMBEDDED_IDLE_SECONDS", "10")

from pixsim.settings import *  # noqa: F403
from pixsim.settings import PASSWORD_HASHERS

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS]
