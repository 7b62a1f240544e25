#!/usr/bin/env python
"""PixSim's command line: every operator and developer task starts here."""

import os
import sys

INTERRUPTED = 130
"""As `pixsim.core.cli.ExitCode` has it: an interrupt may come before that is imported."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line

        from pixsim.core.cli.pipes import quiet_on_closed_pipe

        with quiet_on_closed_pipe():  # Django's own commands, too
            execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. What was done before stays.\n")
        sys.exit(INTERRUPTED)
    except ImproperlyConfigured as error:  # what to set stands in the message
        sys.exit(f"Settings: {error}")


if __name__ == "__main__":
    main()
