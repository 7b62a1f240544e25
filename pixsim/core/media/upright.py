"""How a picture must be turned to be seen upright: as `PIL.ImageOps.exif_transpose` turns it.

Pillow reads it, so it is also what data loaders make of the file. Called in confined children only.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

TAG = 0x0112
UPRIGHT = 1
FIRST_SIDEWAYS = 5
"""From this orientation on, to 8, width and height change places."""


def orientation(image: "Image") -> int:
    """Return the orientation (EXIF 2.3, 4.6.4), 1 to 8, of a picture as it is decoded.

    `image` is loaded: a TIFF file is turned by that, and a PNG file may say it after its pixels.
    """
    try:
        value = image.getexif().get(TAG, UPRIGHT)
    except Exception:  # a damaged block says nothing; Pillow raises what its parts happen to raise
        return UPRIGHT
    return int(value) if value in range(1, 9) else UPRIGHT


def turn_upright(image: "Image") -> None:
    """Turn a loaded picture in place."""
    from PIL import ImageOps

    if orientation(image) != UPRIGHT:
        ImageOps.exif_transpose(image, in_place=True)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height of a decoded picture when it is upright."""
    width, height = size
    return (height, width) if orientation >= FIRST_SIDEWAYS else (width, height)
