"""Sample pictures to try things with: a folder for each style, and a list of all of them.

python -m demo.samples FOLDER
"""

import csv
from argparse import ArgumentParser
from pathlib import Path

from demo import pictures
from pixsim.core.cli.pipes import quiet_on_closed_pipe

PER_STYLE = 10
COLUMNS = ("picture", "style", "title", "creator")


def draw(folder: Path) -> int:
    """Write the pictures and `list.csv` into the folder; return how many pictures there are."""
    rows = []
    for style in pictures.STYLES:
        (folder / style).mkdir(parents=True, exist_ok=True)
        for number in range(PER_STYLE):
            path = folder / style / f"{number:02}.jpg"
            path.write_bytes(pictures.encoded(pictures.picture(style, number), "jpeg"))
            title = f"{style.capitalize()} no. {number + 1}"
            rows.append((path.resolve().as_uri(), style, title, "PixSim's demo"))
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return len(rows)


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m demo.samples", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="made if it is not there")
    folder = parser.parse_args().folder
    with quiet_on_closed_pipe():
        said = (
            f"{draw(folder)} pictures are in {folder}, and a list of them in {folder / 'list.csv'}."
        )
        print(said)  # noqa: T201
