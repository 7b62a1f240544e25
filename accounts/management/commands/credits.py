"""`manage.py credits check|grant|balance`: the operator's face of the ledger."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from accounts import credits
from accounts.models import Profile

BROKEN = 1
"""Exit code of `check`: a balance is not the sum of its ledger."""


class Command(BaseCommand):
    help = "Prove that each balance is the sum of its ledger; add credits; look at a balance."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)

        action = actions.add_parser("check", help="exit code 1 and the accounts that do not add up")
        action.add_argument("--json", action="store_true", help="print one object")
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
            "--reference", required=True, help="the payment or ticket; one reference adds once"
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
            answer = {"ok": finding.holds, "unexplained": finding.rows}
            self.stdout.write(json.dumps(answer, cls=DjangoJSONEncoder))
        else:
            for row in finding.row_texts():
                self.stdout.write(row)
        if not finding.holds:
            raise CommandError(
                f"{finding.count} balances are not the sums of their ledgers. "
                "`credits check --explain WHY` books the difference, once per account.",
                returncode=BROKEN,
            )
        if not options["json"]:
            self.stdout.write("Each balance is the sum of its ledger.")

    def _grant(
        self, *, email: str, amount: int, reference: str, description: str, **options: Any
    ) -> None:
        profile = _profile(email)
        line = credits.grant(
            profile=profile,
            amount=amount,
            description=description,
            reference=f"grant:{reference}",
        )
        if (line.user_id, line.amount) != (profile.pk, amount):
            raise CommandError(
                f"reference {reference} was booked before with {line.amount} credits for profile "
                f"{line.user_id}; nothing was added. Give another reference."
            )
        self.stdout.write(f"{email} has {credits.balance(profile)} credits.")

    def _balance(self, *, email: str, **options: Any) -> None:
        self.stdout.write(f"{email} has {credits.balance(_profile(email))} credits.")


def _profile(email: str) -> Profile:
    if profile := Profile.objects.filter(email=email).first():
        return profile
    raise CommandError(f"email: nobody has the address {email}.", returncode=2)


def _credits(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000_000:
        return int(text)
    raise ArgumentTypeError(f"{text} is no whole number of credits above zero")
