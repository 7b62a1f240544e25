"""What a crawl demands of its pictures: the operator's settings, tightened by the job's options."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Self

from crawler.errors import FieldRefused
from pixsim.core.media.format_names import canonical_format
from pixsim.core.text import unfit

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")
OF_OPERATOR = (
    "max_bytes",
    "max_pixels",
    "min_side",
    "max_aspect",
    "honour_robots",
    "near_duplicate_distance",
)
"""The rules that settings have too, as CRAWL_<NAME>."""
MAX_TEXT = 1000
"""Characters of one format or licence."""
MAX_DISTANCE = 11
"""Bits. Beyond it other pictures resemble each other, and each costs hundreds of look-ups per band."""
NO_DISTANCE = (0, None, False, "", "none", "off")


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
    `honour_robots` robots.txt and the opt-out signals in answers, `near_duplicate_distance` in how
    many bits the hashes of near duplicates differ at most, 0: near duplicates are not looked for.
    """

    max_bytes: int
    max_pixels: int
    min_side: int
    max_aspect: float
    formats: tuple[str, ...] = FORMATS
    licences: tuple[str, ...] = ()
    honour_robots: bool = True
    near_duplicate_distance: int = 0

    # Factories

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the operator's settings, tightened by a crawl's own options.

        Raise RulesError for an unknown name, a wrong type, and a value that would loosen what
        the operator has set.
        """
        from django.conf import settings

        known = sorted(field.name for field in fields(cls))
        for name in options:
            _require(name in known, str(name), f"unknown; there are {', '.join(known)}")
        of_operator = {name: getattr(settings, f"CRAWL_{name.upper()}") for name in OF_OPERATOR}
        rules = {"formats": FORMATS, "licences": (), **of_operator, **options}
        for name in ("max_bytes", "max_pixels", "min_side"):
            is_count = type(rules[name]) is int and rules[name] >= 1
            _require(is_count, name, f"must be a whole number, at least 1, not {rules[name]!r}")
        for name in ("max_bytes", "max_pixels"):
            most = of_operator[name]
            message = f"may be at most {most} here (CRAWL_{name.upper()}), not {rules[name]}"
            _require(rules[name] <= most, name, message)
        aspect = rules["max_aspect"]
        is_number = isinstance(aspect, int | float) and not isinstance(aspect, bool)
        message = f"must be a number, at least 1, not {aspect!r}"
        _require(is_number and aspect >= 1, "max_aspect", message)
        for name in ("formats", "licences"):
            texts = rules[name]
            are_texts = isinstance(texts, list | tuple) and all(isinstance(t, str) for t in texts)
            _require(are_texts, name, f"must be a list of texts, not {texts!r}")
            for text in texts:
                _require(not (why := unfit(text, MAX_TEXT)), name, f"a text {why}")
        _require(bool(rules["formats"]), "formats", "must name at least one format")
        for name in rules["formats"]:
            message = f"{name!r} is unknown; there are {', '.join(FORMATS)}"
            _require(canonical_format(name) in FORMATS, "formats", message)
        honour = rules["honour_robots"]
        message = f"must be true or false, not {honour!r}"
        _require(isinstance(honour, bool), "honour_robots", message)
        message = "only the operator can switch it off (CRAWL_HONOUR_ROBOTS)"
        _require(honour or not of_operator["honour_robots"], "honour_robots", message)
        rules["max_aspect"] = float(aspect)
        rules["formats"] = tuple(dict.fromkeys(map(canonical_format, rules["formats"])))
        rules["licences"] = tuple(rules["licences"])
        rules["near_duplicate_distance"] = (
            _distance(options["near_duplicate_distance"])
            if "near_duplicate_distance" in options
            else max(0, of_operator["near_duplicate_distance"])
        )
        return cls(**rules)

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


def canonical_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a crawl's options as they are stored: each value in its one spelling.

    Raise RulesError as `Rules.from_options` does.
    """
    rules = Rules.from_options(options)
    spelled: dict[str, Any] = {
        "formats": list(rules.formats),
        "near_duplicate_distance": rules.near_duplicate_distance,
    }
    return {name: spelled.get(name, value) for name, value in options.items()}


def _distance(value: Any) -> int:
    if (value.lower() if isinstance(value, str) else value) in NO_DISTANCE:
        return 0
    message = (
        f"must be a whole number from 1 to {MAX_DISTANCE}, or 0 or none to switch it off, "
        f"not {value!r:.50}"
    )
    _require(type(value) is int and 1 <= value <= MAX_DISTANCE, "near_duplicate_distance", message)
    return int(value)


def _require(is_met: bool, name: str, message: str) -> None:
    if not is_met:
        raise RulesError(name, message)
