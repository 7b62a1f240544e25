"""`manage.py provider_account add`: an account with a provider, without its secrets."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connection, transaction

from pixsim.core import cli
from providers.models import AccountStatus

# All columns of the first migration and no later one: a migration tells people to run this command,
# at a point of the history where later columns do not exist.
ADD = """
    INSERT INTO provider_accounts (
        is_private, provider_id, email, status, total_videos_generated, total_videos_failed,
        failure_streak, success_rate, max_concurrent_jobs, current_processing_jobs, priority,
        videos_today, created_at, updated_at
    ) VALUES (false, %s, %s, %s, 0, 0, 0, 1.0, %s, 0, 0, 0, now(), now())
    RETURNING id
"""
SAME = "SELECT id FROM provider_accounts WHERE provider_id = %s AND email = %s AND user_id IS NULL"


class Command(cli.Command):
    help = "Add a provider account that belongs to the system. Its secrets are set in the admin."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        add = commands.add_parser("add", help="add an account")
        add.add_argument("--provider", required=True, help="the provider's name, such as pixverse")
        add.add_argument("--email", required=True, help="the log-in there, or a name for it")
        add.add_argument("--status", choices=AccountStatus.values, default="active")
        add.add_argument(
            "--max-concurrent-jobs", type=int, default=2, help="jobs it may carry at once (2)"
        )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        provider, email = options["provider"], options["email"]
        if options["max_concurrent_jobs"] < 1:
            raise cli.UsageError("--max-concurrent-jobs: an account carries at least one job.")
        with connection.cursor() as cursor:
            cursor.execute(SAME, [provider, email])
            if same := cursor.fetchone():
                raise CommandError(f"Account {same[0]} is {email} at {provider} already.")
            cursor.execute(
                ADD, [provider, email, options["status"], options["max_concurrent_jobs"]]
            )
            (account_id,) = cursor.fetchone()
        self.stdout.write(f"Added account {account_id}: {email} at {provider}.")
