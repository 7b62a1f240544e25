"""The flags that the installed sources and export formats bring along."""

import os
from argparse import ArgumentError, ArgumentParser, BooleanOptionalAction
from contextlib import suppress
from pathlib import Path
from typing import Any

from crawler.export import DEFAULT_FORMAT, all_formats
from crawler.sources import all_sources
from crawler.sources.base import Option
from crawler.sources.roots import location_of

PREFIX = "source."


def add_format_flag(parser: ArgumentParser) -> None:
    formats = all_formats().values()
    parser.add_argument(
        "--export-format",
        choices=list(all_formats()),
        default=DEFAULT_FORMAT,
        help="; ".join(f"{format.name}: {format.title}" for format in formats),
    )


def add_source_flags(parser: ArgumentParser) -> None:
    """Add `--source`, `--from` and a flag for each option of each source.

    An option whose flag the command already has is given by `--option` only.
    """
    sources = all_sources().values()
    parser.add_argument(
        "--source",
        required=True,
        choices=list(all_sources()),
        help="kind of source: " + ", ".join(f"{each.kind} ({each.title})" for each in sources),
    )
    parser.add_argument(
        "--from",
        required=True,
        dest="location",
        metavar="PLACE",
        help="; ".join(f"{each.kind}: {each.place}" for each in sources),
    )
    for options in _options_by_name().values():
        first = next(iter(options.values()))
        kind_of_value: dict[str, Any] = (
            {"action": BooleanOptionalAction}
            if first.type is bool
            else {"type": first.type, "metavar": first.name.upper()}
        )
        with suppress(ArgumentError):
            parser.add_argument(
                f"--{first.name.replace('_', '-')}",
                dest=PREFIX + first.name,
                help="; ".join(f"{kind}: {option.help}" for kind, option in options.items()),
                default=None,
                **kind_of_value,
            )


def given_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the source that were given by flags."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in options.items()
        if name.startswith(PREFIX) and value is not None
    }


def option_named(kind: str, name: str) -> Option | None:
    """Return the option of this name that a kind of source has."""
    return next((each for each in all_sources()[kind].known_options if each.name == name), None)


def is_source_option(name: str) -> bool:
    return name in _options_by_name()


def absolute_location(kind: str, location: str) -> str:
    """Return a path as the workers can find it, which is absolute; an address as it is."""
    if "://" in location or not location.strip() or not all_sources()[kind].takes_path:
        return location
    return location_of(Path(os.path.abspath(os.path.expanduser(location))))


def _options_by_name() -> dict[str, dict[str, Option]]:
    """Return for each option name the options of that name by kind of source."""
    by_name: dict[str, dict[str, Option]] = {}
    for source in all_sources().values():
        for option in source.known_options:
            by_name.setdefault(option.name, {})[source.kind] = option
    return by_name
