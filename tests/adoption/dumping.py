"""The whole scratch database as text, to see whether anything at all has changed."""

import subprocess
from collections import Counter

from django.db import connections

from pixsim.schema import programs
from tests.scratch import ALIAS


def dump() -> Counter[str]:
    """Every line that pg_dump writes, and how often: rows have no order of their own."""
    connection = connections[ALIAS]
    program = programs.find_program("pg_dump", at_least=programs.server_major(connection))
    written = subprocess.run(
        [program.path],
        env=programs.environment(connection),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # The fence around the script is another one each time.
    return Counter(line for line in written.splitlines() if "restrict " not in line)
