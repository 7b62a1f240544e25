"""The version of PixSim that this process runs."""

VERSION = "0.1.0"
