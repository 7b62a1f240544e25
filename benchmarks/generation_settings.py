"""Settings of the generation benchmark: PixSim's, and the simple provider."""

import tests.providers.adapters.simple_adapter  # noqa: F401 - registers it
from pixsim.settings import *  # noqa: F403

DEBUG = False
