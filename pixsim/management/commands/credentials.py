"""`manage.py credentials rotate`: encrypt stored secrets anew, under the first key."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pixsim.core.crypto.rotation import rotate

MAX_NAMED = 20


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret that another key wrote anew, under the first of "
        "CREDENTIALS_KEYS. Safe to stop and to run again. Exit code 1: some cannot be read."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        action = parser.add_subparsers(dest="action", required=True).add_parser("rotate")
        action.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        done = rotate(dry_run=dry_run)
        what = "would be encrypted anew" if dry_run else "encrypted anew"
        self.stdout.write(
            f"{done.rotated:,} secrets {what}, {done.current:,} had the first key already."
        )
        if not done.unreadable:
            if not dry_run:
                self.stdout.write("The other keys may leave CREDENTIALS_KEYS.")
            return
        named = "\n".join(f"  {place}" for place in done.unreadable[:MAX_NAMED])
        raise CommandError(
            f"{len(done.unreadable):,} secrets cannot be read with any of CREDENTIALS_KEYS and were "
            f"left as they are:\n{named}\nPut the key they were written with back, or set them again."
        )
