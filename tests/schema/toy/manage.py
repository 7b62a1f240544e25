"""The toy project's command line. It fails if a command imported anything of PixSim but the tool."""

import os
import sys

ALLOWED = ("pixsim", "pixsim.core", "pixsim.schema")
PIXSIM = {"accounts", "crawler", "jobs", "providers", "pixsim"}


def foreign_modules() -> list[str]:
    """Return the imported modules of PixSim that do not belong to the tool."""
    return sorted(
        name
        for name in sys.modules
        if name.partition(".")[0] in PIXSIM and not name.startswith((*ALLOWED[1:],))
        if name not in ALLOWED
    )


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "toy_settings"
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    finally:
        if found := foreign_modules():
            sys.stderr.write(f"Imported of PixSim: {', '.join(found)}\n")
            os._exit(99)
