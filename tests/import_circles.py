"""Circles of imports among our modules: `python -m tests.import_circles` names them and fails.

Imports inside functions and under TYPE_CHECKING count, which import-linter does not see as circles.
"""

import sys
from collections.abc import Iterable, Mapping

import grimp

PACKAGES = ("pixsim", "crawler", "jobs", "providers", "accounts", "demo", "benchmarks")


def imports_of(*packages: str) -> dict[str, set[str]]:
    """Return what each module of the packages imports directly."""
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=False, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(imports: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """Return the sets of modules that all import each other, directly or not (Tarjan)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for imported in imports.get(module, ()):
            if imported not in order:
                visit(imported)
                lowest[module] = min(lowest[module], lowest[imported])
            elif imported in path:
                lowest[module] = min(lowest[module], order[imported])
        if lowest[module] == order[module]:
            first = path.index(module)
            if len(path) - first > 1:
                found.append(set(path[first:]))
            del path[first:]

    for module in sorted(imports):
        if module not in order:
            visit(module)
    return found


def main() -> int:
    """Print the circles; return the exit code."""
    found = circles(imports_of(*PACKAGES))
    for circle in found:
        print(f"These modules import each other in a circle: {', '.join(sorted(circle))}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
