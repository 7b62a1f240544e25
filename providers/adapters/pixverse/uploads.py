"""Uploads to PixVerse: by address, or as bytes."""

from dataclasses import dataclass

import aiohttp

from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.inline import inline_bytes


@dataclass(frozen=True)
class Kind:
    """One kind of upload: its path, its two fields, and the field of the number in the answer."""

    path: str
    bytes_field: str
    address_field: str
    number: str


IMAGE = Kind("image/upload", "image", "image_url", "img_id")
MEDIA = Kind("media/upload", "file", "file_url", "media_id")


def form(kind: Kind, url: str) -> aiohttp.FormData:
    """Return the form that uploads the file at, or inside (data:), an address.

    Raise ProviderError.
    """
    form = aiohttp.FormData(default_to_multipart=True)
    try:
        inline = inline_bytes(url)
    except ValueError as error:
        raise ProviderError(ErrorClass.INVALID_PARAMETER, f"A file: {error}.") from error
    if inline is None:
        form.add_field(kind.address_field, url)
        return form
    mime_type, content = inline
    name = f"input.{mime_type.rpartition('/')[2]}"
    form.add_field(kind.bytes_field, content, filename=name, content_type=mime_type)
    return form
