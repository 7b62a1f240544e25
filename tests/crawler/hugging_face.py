"""The `datasets` library as people install it, in a folder of its own and processes of its own."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

LOAD = """
import json, sys
from datasets import disable_progress_bars, load_dataset

disable_progress_bars()
for arguments, options in json.load(sys.stdin):
    splits = load_dataset(*arguments, **options)
    print(json.dumps({
        name: {
            "rows": len(split),
            "types": {column: str(getattr(feature, "dtype", feature))
                      for column, feature in split.features.items()},
            "labels": {label: split["label"][:].count(label) for label in {*split["label"]}},
            "sides": sorted({picture.size for picture in split[:50]["image"]}),
            "sizes": [[*picture.size, width, height] for picture, width, height
                      in zip(*(split[:50][name] for name in ("image", "width", "height")))],
        }
        for name, split in splits.items()
    }), flush=True)
"""


def installed() -> Path:
    """Return the folder with the library; the test is skipped if there is none and no package index."""
    folder = Path(settings.PIXSIM_HOME) / "hugging-face"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".installed"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--upgrade"]
            words = ["datasets", "pillow", "--target", str(folder / "packages")]
            done = subprocess.run([*pip, *words], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"datasets cannot be installed: {done.stderr.strip()[-300:]}")
            stamp.touch()
    return folder / "packages"


def load_datasets(cache: Path, *calls: tuple[list[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what `load_dataset` finds for each call's arguments: by split its rows, types and labels."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(installed()),
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=json.dumps(calls),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
