#!/usr/bin/env python
"""PixSim's command line: every operator and developer task starts here."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # what to set stands in the message
        sys.exit(f"Settings: {error}")


if __name__ == "__main__":
    main()
