"""The flag by which a command chooses an export format."""

from argparse import ArgumentParser

from crawler.export import DEFAULT_FORMAT, all_formats


def add_format_flag(parser: ArgumentParser) -> None:
    formats = all_formats().values()
    parser.add_argument(
        "--export-format",
        choices=list(all_formats()),
        default=DEFAULT_FORMAT,
        help="; ".join(f"{format.name}: {format.title}" for format in formats),
    )
