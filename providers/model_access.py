"""Which models an account may not use: a fact about account and model, kept when a provider says so.

A day later the model is tried again, since permissions are given meanwhile; `forget` tries it now.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models.functions import Now

from pixsim.core.db.sql import fetch
from pixsim.core.text import storable
from providers.adapters.errors import ProviderError
from providers.models import ModelRefusal, ProviderAccount

LONGEST_MESSAGE = 1000
KEPT = timedelta(days=1)

REFUSED = """
ARRAY(SELECT refusal.model FROM provider_model_refusals refusal
      WHERE refusal.account_id = account.id AND refusal.refused_at > now() - interval '1 day')
"""
"""The models that `account` may not use now, in SQL."""

LEFT_TO_TRY = f"""
SELECT 1 FROM provider_accounts account
WHERE provider_id = %(provider)s AND status NOT IN ('disabled', 'error')
  AND (NOT is_private OR user_id = %(user)s) AND %(model)s <> ALL({REFUSED})
LIMIT 1
"""


def record(account_id: int, model: str, error: ProviderError) -> None:
    """Keep that the account may not use the model; what nobody asks any more goes."""
    of_account = ModelRefusal.objects.filter(account_id=account_id)
    of_account.filter(refused_at__lte=Now() - KEPT).delete()
    ModelRefusal.objects.update_or_create(
        account_id=account_id,
        model=model,
        defaults={
            "message": storable(str(error), longest=LONGEST_MESSAGE),
            "refused_at": Now(),
        },
    )


def refusals(accounts: Iterable[ProviderAccount], model: str) -> dict[int, str]:
    """Return what the provider said, by account, of those that may not use the model now."""
    rows = ModelRefusal.objects.filter(account__in=accounts, model=model)
    return dict(rows.filter(refused_at__gt=Now() - KEPT).values_list("account_id", "message"))


def forget(account_id: int) -> None:
    """Let the account try all models again."""
    ModelRefusal.objects.filter(account_id=account_id).delete()


def is_left_to_try(*, provider: str, model: str, user_id: int) -> bool:
    """Return whether an account is left that may serve the user and has not refused the model."""
    params = {"provider": provider, "model": model, "user": user_id}
    return bool(fetch(LEFT_TO_TRY, params))
