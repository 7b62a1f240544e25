"""Providers in the admin: their accounts, what was sent to them, and how they do."""

from providers.admin.accounts import ProviderAccountAdmin
from providers.admin.filters import ProviderFilter
from providers.admin.submissions import ProviderSubmissionAdmin

__all__ = ["ProviderAccountAdmin", "ProviderFilter", "ProviderSubmissionAdmin"]
