"""The pictures that the README draws to try things with."""

import csv
from pathlib import Path

from PIL import Image

from crawler.urls import path_of
from demo import pictures, samples


def test_there_is_a_folder_for_each_style_and_a_list_of_all(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(samples, "PER_STYLE", 2)
    monkeypatch.chdir(tmp_path)

    count = samples.draw(Path("pictures"))

    rows = list(csv.DictReader((tmp_path / "pictures" / "list.csv").open()))
    assert count == len(rows) == 2 * len(pictures.STYLES)
    assert {row["style"] for row in rows} == set(pictures.STYLES)
    for row in rows:
        path = path_of(row["picture"])
        assert path.parent == tmp_path / "pictures" / row["style"]
        with Image.open(path) as image:
            assert image.size == (pictures.WIDTH, pictures.HEIGHT)
