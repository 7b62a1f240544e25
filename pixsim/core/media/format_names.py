"""The names that people use for picture formats, in files, in other programs and in HTTP headers."""

ALIASES = {
    "jpg": "jpeg",
    "jpe": "jpeg",
    "jfif": "jpeg",
    "jif": "jpeg",
    "pjpeg": "jpeg",
    "pjpg": "jpeg",
    "apng": "png",
    "tif": "tiff",
    "dib": "bmp",
    "ms-bmp": "bmp",
    "windows-bmp": "bmp",
    "avifs": "avif",
}


def canonical_format(name: str) -> str:
    """Return `jpeg` for jpeg, JPG, .jpg, *.jpe, image/jpeg and the like; other names in lower case."""
    name = name.strip().lower().removeprefix("image/").removeprefix("x-").lstrip("*.")
    return ALIASES.get(name, name)
