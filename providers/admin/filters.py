"""Filters for the lists of accounts and submissions."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers.models import ProviderAccount


class ProviderFilter(admin.SimpleListFilter):
    """Filter by the providers that have an account: DISTINCT over the large tables is slow."""

    title = "provider"
    parameter_name = "provider_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        providers = ProviderAccount.objects.order_by("provider_id").values_list(
            "provider_id", flat=True
        )
        return [(provider, provider) for provider in providers.distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider_id=self.value()) if self.value() else queryset
