"""Outside generators: our accounts there, their credits, and our submissions to them."""

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
