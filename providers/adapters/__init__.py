"""Outside generators: one folder each, found by its name.


An adapter is a folder with a module `adapter` that defines one Adapter.
"""

import pkgutil
from functools import cache
from importlib import import_module
from inspect import isabstract
from typing import Any

from django.conf import settings

from providers.adapters.base import Adapter


class UnknownProvider(Exception):
    """There is no adapter of that name."""


@cache
def all_adapters() -> dict[str, Adapter]:
    """Return every adapter, by name."""
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg:
            import_module(f"{__name__}.{module.name}.adapter")
    classes: list[Any] = [Adapter]
    for each in classes:
        classes += each.__subclasses__()
    adapters = [each() for each in classes if not isabstract(each)]
    return {adapter.name: adapter for adapter in sorted(adapters, key=lambda each: each.name)}


def adapter_named(name: str) -> Adapter:
    """Return the adapter of a provider. Raise UnknownProvider, which lists the known names."""
    try:
        return all_adapters()[name]
    except KeyError:
        known = ", ".join(all_adapters())
        raise UnknownProvider(f"There is no provider {name!r}; there is: {known}.") from None


def base_url_of(adapter: Adapter) -> str:
    """Return the address of its API: from PROVIDER_BASE_URLS, else the published one."""
    return str(settings.PROVIDER_BASE_URLS.get(adapter.name, adapter.base_url))
