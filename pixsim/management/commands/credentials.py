"""`manage.py credentials rotate`: encrypt the stored secrets with the first of CREDENTIALS_KEYS."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from pixsim.core import cli
from pixsim.core.crypto.rotation import rotate

MAX_NAMED = 20


class Command(cli.Command):
    help = (
        "Encrypt again, with the first of CREDENTIALS_KEYS, every stored secret that another key "
        "encrypted. It may be stopped and run again. Exit code 1: some secrets cannot be read."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        action = parser.add_subparsers(dest="action", required=True).add_parser("rotate")
        action.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        done = rotate(dry_run=dry_run)
        what = "would be encrypted anew" if dry_run else "encrypted anew"
        self.stdout.write(
            f"{done.rotated:,} secrets {what}, {done.current:,} had the first key already."
        )
        if done.unreadable:
            named = "\n".join(f"  {place}" for place in done.unreadable[:MAX_NAMED])
            raise CommandError(
                f"{len(done.unreadable):,} secrets cannot be read with any of CREDENTIALS_KEYS and "
                f"were left as they are:\n{named}\nPut the key that encrypted them back, or set them "
                "again."
            )
        if not dry_run:
            self.stdout.write("The other keys can be removed from CREDENTIALS_KEYS.")
