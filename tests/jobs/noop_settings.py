"""PixSim's settings with chunks whose work does nothing for NOOP_SECONDS."""

from pixsim.settings import *  # noqa: F403

QUEUE_KINDS = ["crawler.work.DiscoveryKind", "benchmarks.noop.NoopChunks"]
