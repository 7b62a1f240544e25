"""What the conformance suite needs to know of `local`, which is its own provider."""

from __future__ import annotations

import base64
import io

from PIL import Image

from providers.adapters.base import Credentials
from tests.providers.adapters.fake import Case, Refusal


def address_of_picture(width: int = 48, height: int = 32) -> str:
    """A small picture with something on it, in its own address."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


SMALL = {"width": 48, "height": 32}
CASE = Case(
    adapter="local",
    fake=None,
    credentials=Credentials(),
    wrong_credentials=Credentials(),
    samples={
        "text_to_image": {"prompt": "a red panda in the forest", **SMALL, "seed": 7},
        "image_to_image": {"image": address_of_picture(), "prompt": "oil painting"},
        "text_to_video": {"prompt": "the sea at night", **SMALL, "seconds": 0.5, "fps": 4},
        "image_to_video": {"image": address_of_picture(), "seconds": 0.5, "fps": 4},
        "song": {"title": "Red Panda", "lyrics": "High in the tree\nhappy and free", "seconds": 5},
    },
    more_samples=[
        (
            "text_to_image",
            "painter",
            {"prompt": "x", **SMALL, "format": "jpeg", "quality": 40, "count": 3},
        ),
        ("text_to_video", "animator", {"prompt": "x", **SMALL, "seconds": 0.5, "format": "webp"}),
    ],
    refusals=[
        Refusal("text_to_image", {}, "prompt"),
        Refusal("text_to_image", {"prompt": "   "}, "prompt"),
        Refusal("text_to_image", {"prompt": "x", "wdith": 64}, "wdith"),
        Refusal("text_to_image", {"prompt": "x", "width": 8}, "width"),
        Refusal("text_to_image", {"prompt": "x", "width": 4096, "height": 4096}, "height"),
        Refusal("text_to_image", {"prompt": "x", "format": "png", "quality": 50}, "quality"),
        Refusal("text_to_image", {"prompt": "x", "format": "tiff"}, "format"),
        Refusal("text_to_image", {"prompt": "x", "style": "cubist"}, "style"),
        Refusal("text_to_image", {"prompt": "x", "seed": -1}, "seed"),
        Refusal("image_to_image", {"prompt": "x"}, "image"),
        Refusal("image_to_image", {"image": "x", "strength": 1.5}, "strength"),
        Refusal("text_to_video", {"prompt": "x", "seconds": 60}, "seconds"),
        Refusal("image_to_video", {"image": "x", "fps": 60}, "fps"),
        Refusal("song", {"lyrics": "la"}, "title"),
        Refusal("song", {"title": "x", "genre": "polka"}, "genre"),
        Refusal("song", {"title": "x", "tempo": 20}, "tempo"),
    ],
)
