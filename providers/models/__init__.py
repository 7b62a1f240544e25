"""Outside generators: the accounts we have with them, their credit, and what we sent them."""

from providers.models.accounts import AccountStatus, ProviderAccount, ProviderCredit
from providers.models.submissions import AccountSource, ProviderSubmission, SubmissionStatus
from providers.models.webhooks import ProviderWebhook

__all__ = [
    "AccountSource",
    "AccountStatus",
    "ProviderAccount",
    "ProviderCredit",
    "ProviderSubmission",
    "ProviderWebhook",
    "SubmissionStatus",
]
