"""Providers in the admin: accounts, submissions and the status page."""

from providers.admin.accounts import ProviderAccountAdmin
from providers.admin.filters import ProviderFilter
from providers.admin.submissions import ProviderSubmissionAdmin

__all__ = ["ProviderAccountAdmin", "ProviderFilter", "ProviderSubmissionAdmin"]
