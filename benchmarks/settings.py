"""PixSim's settings with work that does nothing, so that only the queue is measured."""

from pixsim.settings import *  # noqa: F403

DEBUG = False
QUEUE_KINDS = ["benchmarks.noop.NoopChunks"]
