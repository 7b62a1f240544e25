"""`manage.py credits check|grant|balance`: check the ledger of credits, grant credits, show a balance."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management import CommandError

from accounts import credits
from accounts.management.lookup import find_profile
from accounts.models import CreditTransaction
from pixsim.core import cli


class Command(cli.Command):
    help = "Check that each balance is the sum of its ledger; grant credits; show a balance."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)

        action = actions.add_parser("check", help="exit code 1 and the accounts that do not add up")
        cli.add_json_flag(action)
        action.add_argument(
            "--explain",
            metavar="WHY",
            help="write the missing difference to the ledger as an adjustment with this reason, "
            "once per account: for balances that were carried over from an older system",
        )

        action = actions.add_parser("grant", help="add credits to a profile")
        action.add_argument("email")
        action.add_argument("amount", type=_credits)
        action.add_argument(
            "--reference", required=True, help="the payment or ticket; it adds once to a profile"
        )
        action.add_argument("--description", default="granted by an operator")

        action = actions.add_parser("balance", help="what a profile may spend")
        action.add_argument("email")

    def handle(self, *, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(**options)

    def _check(self, *, explain: str | None, **options: Any) -> None:
        if explain:
            credits.explain_openings(description=explain)
        finding = credits.check()
        if options["json"]:
            self.print_json({"ok": finding.holds, "unexplained": finding.rows})
        else:
            for row in finding.row_texts():
                self.stdout.write(row)
        if not finding.holds:
            raise CommandError(
                f"{finding.count} balances are not the sums of their ledgers. "
                "`credits check --explain WHY` books the difference, once per account."
            )
        if not options["json"]:
            self.stdout.write("Each balance is the sum of its ledger.")

    def _grant(
        self, *, email: str, amount: int, reference: str, description: str, **options: Any
    ) -> None:
        profile = find_profile(email, field="email")
        cli.check_fits("reference", f"grant:{reference}", CreditTransaction, "reference")
        line = credits.grant(
            profile=profile,
            amount=amount,
            description=description,
            reference=f"grant:{reference}",
        )
        if line.amount != amount:
            raise CommandError(
                f"reference {reference} was booked before with {line.amount} credits for {email}; "
                "nothing was added. Give another reference."
            )
        self.stdout.write(f"{email} has {credits.balance(profile)} credits.")

    def _balance(self, *, email: str, **options: Any) -> None:
        profile = find_profile(email, field="email")
        self.stdout.write(f"{email} has {credits.balance(profile)} credits.")


def _credits(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000_000:
        return int(text)
    raise ArgumentTypeError(f"must be a whole number from 1 to 1,000,000,000, not {text!r}")
