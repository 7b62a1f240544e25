"""Filters for the lists of accounts and submissions."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers.adapters import all_adapters
from providers.models import ProviderAccount


class ProviderFilter(admin.SimpleListFilter):
    """Filter by known providers, and those of accounts: DISTINCT over the large tables is slow."""

    title = "provider"
    parameter_name = "provider_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        accounts = ProviderAccount.objects.visible_to(request.user).order_by()
        names = {*accounts.values_list("provider_id", flat=True).distinct(), *all_adapters()}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider_id=self.value()) if self.value() else queryset
