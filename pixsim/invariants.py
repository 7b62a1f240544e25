"""What PixSim adds to the schema tool: the invariants of its rows, for `db verify`."""

from collections.abc import Mapping, Sequence

from accounts import credits
from jobs.queue.kinds import all_kinds
from jobs.queue.ops.check import invariants_of
from pixsim.core.invariants import Invariant
from pixsim.schema.plugins import Plugin
from pixsim.schema.target_parsing import Key

SECRETS = ("password", "jwt_token", "api_key", "api_key_paid", "cookies")

OF_PIXSIM: Mapping[Key, Sequence[Invariant]] = {
    ("providers", "0005_submission_account_required"): [
        Invariant(
            "submission-account",
            "A submission was made by an account of its own provider.",
            """SELECT submission.id, submission.provider_id, submission.account_id,
                      account.provider_id AS provider_of_account
                 FROM provider_submissions AS submission
                 LEFT JOIN provider_accounts AS account ON account.id = submission.account_id
                WHERE account.provider_id IS DISTINCT FROM submission.provider_id""",
        )
    ],
    ("accounts", "0004_profile_for_every_user"): [
        Invariant(
            "user-profile",
            "Who can log in has a profile.",
            """SELECT id FROM auth_user
                WHERE NOT EXISTS (SELECT FROM profiles WHERE profiles.user_id = auth_user.id)""",
        )
    ],
    ("providers", "0001_accounts"): [
        Invariant(
            "secrets-encrypted",
            "A secret of a provider account is encrypted.",
            " UNION ALL ".join(
                f"SELECT id, '{name}' AS secret FROM provider_accounts "
                f"WHERE {name}::text NOT IN ('', 'null') AND {name}::text NOT LIKE 'gAAAA%'"
                for name in SECRETS
            ),
        )
    ],
    ("accounts", "0005_indexes_and_constraints"): [credits.USED_LEDGER_ADDS_UP],
}

OF_KINDS: Mapping[str, Key] = {
    "crawler": ("crawler", "0005_indexes_and_constraints"),
    "jobs": ("jobs", "0005_indexes_and_constraints"),
}
"""App of a work table → the migration since which the invariants of its kinds hold."""


class PixsimPlugin(Plugin):
    """The rows of PixSim's tables."""

    name = "pixsim"

    def invariants(self) -> Mapping[Key, Sequence[Invariant]]:
        found = {key: list(several) for key, several in OF_PIXSIM.items()}
        for kind in all_kinds():
            # Those that hold whether a worker runs or not.
            lasting = [each for each in invariants_of(kind) if not each.needs_worker]
            found.setdefault(OF_KINDS[kind.model._meta.app_label], []).extend(lasting)
        return found
