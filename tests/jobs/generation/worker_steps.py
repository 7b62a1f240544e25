"""The steps of a submission at which tests kill a worker: names, without importing Django."""

STEP_NAMES = (
    "before intent",
    "after intent",
    "after send",
    "after accept",
    "during polling",
    "after success before the asset",
    "after the asset before commit",
)
