"""Models as data: schemas by name or by family, and the dates of each.

`models.toml` names families beside models, and dates:

    [operations.text_to_image]
    families."gpt-image-2" = ["prompt", "size"]   # of every other model whose name begins like this
    [dates."flux-1"]
    offered = 2025-04-23
    deprecated = 2026-06-01
    shut_down = 2026-12-01
    successor = "flux-2"

A snapshot (`flux-1-2025-04-23`) has the dates of its model. Dates are those of the published API:
another server that speaks it (PROVIDER_BASE_URLS) may go on offering a model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from pixsim.core.patterns import pattern
from providers.adapters.params import Params

match_name = pattern(r"[A-Za-z0-9][\w.-]*", longest=100, method="fullmatch")


@dataclass(frozen=True)
class Dates:
    """When a model was or will be offered; None: not known, or not decided."""

    offered: date | None = None
    deprecated: date | None = None
    shut_down: date | None = None
    successor: str | None = None


class Models(Mapping[str, type[Params]]):
    """Schemas by model: those that are named, and of each family any other name."""

    def __init__(
        self, named: Mapping[str, type[Params]], families: Mapping[str, type[Params]] = {}
    ) -> None:
        self._named = named
        self.families = families

    def __getitem__(self, model: str) -> type[Params]:
        if model in self._named:
            return self._named[model]
        family = max((one for one in self.families if model.startswith(one)), key=len, default=None)
        if family is None or not match_name(model):
            raise KeyError(model)
        return self.families[family]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)
