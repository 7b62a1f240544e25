"""What a crawl demands of its pictures: the operator's settings, tightened by the job's options."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Self

from crawler.errors import FieldRefused

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")


class Checks(NamedTuple):
    """What a picture must be: pixels, shorter side, longer side over shorter, allowed formats."""

    max_pixels: int
    min_side: int
    max_aspect: float
    formats: tuple[str, ...] = FORMATS


class RulesError(FieldRefused, ValueError):
    """Options of a crawl that do not make sense; `field` names the one to correct."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The checks of one crawl.

    `max_bytes` per file, `max_pixels` width times height, `min_side` the shorter side in pixels,
    `max_aspect` longer over shorter side, `formats` what is allowed, `licences` patterns of which
    the licence that the source named must match one (`cc0*`, any case; empty: no condition),
    `honour_robots` robots.txt and the opt-out signals in answers.
    """

    max_bytes: int
    max_pixels: int
    min_side: int
    max_aspect: float
    formats: tuple[str, ...] = FORMATS
    licences: tuple[str, ...] = ()
    honour_robots: bool = True

    # Factories

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the operator's settings, tightened by a crawl's own options.

        Raise RulesError for an unknown name, a wrong type, and a value that would loosen what
        the operator has set.
        """
        from django.conf import settings

        known = {field.name for field in fields(cls)}
        for name in options:
            if name not in known:
                raise RulesError(str(name), f"unknown; there are {', '.join(sorted(known))}")
        return cls(
            max_bytes=_at_most(options, "max_bytes", settings.CRAWL_MAX_BYTES),
            max_pixels=_at_most(options, "max_pixels", settings.CRAWL_MAX_PIXELS),
            min_side=_whole_number(options, "min_side", settings.CRAWL_MIN_SIDE),
            max_aspect=_aspect(options, settings.CRAWL_MAX_ASPECT),
            formats=_formats(options),
            licences=_texts(options, "licences", ()),
            honour_robots=_honour_robots(options, settings.CRAWL_HONOUR_ROBOTS),
        )

    # Queries

    @property
    def checks(self) -> Checks:
        """What the decoder needs of these rules."""
        return Checks(self.max_pixels, self.min_side, self.max_aspect, self.formats)

    def licence_refusal(self, provenance: Mapping[str, Any] | None) -> str | None:
        """Return why a candidate with this provenance is not allowed, or None."""
        if not self.licences:
            return None
        licence = str((provenance or {}).get("licence") or "").strip()
        if not licence:
            return "the source names no licence"
        if any(fnmatchcase(licence.lower(), pattern.lower()) for pattern in self.licences):
            return None
        return f"{licence} is not among {', '.join(self.licences)}"


def _whole_number(options: Mapping[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if type(value) is not int or value < 1:
        raise RulesError(name, f"must be a whole number, at least 1, not {value!r}")
    return value


def _at_most(options: Mapping[str, Any], name: str, highest: int) -> int:
    value = _whole_number(options, name, highest)
    if value > highest:
        raise RulesError(name, f"may be at most {highest} here (CRAWL_{name.upper()}), not {value}")
    return value


def _aspect(options: Mapping[str, Any], default: float) -> float:
    value = options.get("max_aspect", default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1:
        raise RulesError("max_aspect", f"must be a number, at least 1, not {value!r}")
    return float(value)


def _texts(options: Mapping[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = options.get(name, default)
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise RulesError(name, f"must be a list of texts, not {value!r}")
    return tuple(value)


def _formats(options: Mapping[str, Any]) -> tuple[str, ...]:
    chosen = _texts(options, "formats", FORMATS)
    if not chosen:
        raise RulesError("formats", "must name at least one format")
    for name in chosen:
        if name not in FORMATS:
            raise RulesError("formats", f"{name!r} is unknown; there are {', '.join(FORMATS)}")
    return chosen


def _honour_robots(options: Mapping[str, Any], default: bool) -> bool:
    value = options.get("honour_robots", default)
    if not isinstance(value, bool):
        raise RulesError("honour_robots", f"must be true or false, not {value!r}")
    if default and not value:
        raise RulesError(
            "honour_robots", "only the operator can switch it off (CRAWL_HONOUR_ROBOTS)"
        )
    return value
