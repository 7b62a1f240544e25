"""Plugins: each module of a package defines one class, and no list names them."""

import pkgutil
from importlib import import_module
from typing import Any


def plugin_classes(package: str, base: type, *, module: str | None = None) -> list[Any]:
    """Return the one subclass of `base` that each module of `package` defines.

    With `module`, the plugins are the folders of the package, each with a module of that name.
    Raise ImportError if a plugin defines no such class, or several.
    """
    classes = []
    for entry in pkgutil.iter_modules(import_module(package).__path__):
        if module is not None and not entry.ispkg:
            continue
        name = ".".join(filter(None, (package, entry.name, module)))
        defined = [
            each
            for each in vars(import_module(name)).values()
            if isinstance(each, type) and issubclass(each, base) and each.__module__ == name
        ]
        if len(defined) != 1:
            raise ImportError(f"{name} must define one {base.__name__}, not {len(defined)}.")
        classes += defined
    return classes
