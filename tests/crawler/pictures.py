"""Pictures for tests: photograph-like ones with detail at all scales, made from a seed."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image


@lru_cache(maxsize=256)
def photograph(width: int = 320, height: int = 240, *, seed: int = 1) -> Image.Image:
    """A random scene in the manner of clouds. Different seeds look nothing alike."""
    random = np.random.default_rng(seed)
    scene = np.zeros((height, width, 3), np.float32)
    for cell in (8, 16, 32, 64, 128):
        shape = (height // cell + 2, width // cell + 2)
        for channel in range(3):
            noise = Image.fromarray(random.normal(size=shape).astype(np.float32))
            scene[..., channel] += np.asarray(noise.resize((width, height), 3)) * cell**0.7
    scene -= scene.min()
    scene *= 255 / scene.max()
    scene += random.normal(scale=3, size=scene.shape)
    return Image.fromarray(scene.clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The file of a picture. Options go to Pillow, as `quality=80` or `progressive=True`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(width: int = 320, height: int = 240, *, seed: int = 1, quality: int = 85) -> bytes:
    """A photograph-like JPEG file."""
    return encode(photograph(width, height, seed=seed), quality=quality)


def truncated(data: bytes) -> bytes:
    """The first 60 % of a file."""
    return data[: len(data) * 6 // 10]


def corrupted(data: bytes) -> bytes:
    """The file with some 200 bytes in the middle overwritten."""
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


def distance(first: int, second: int) -> int:
    """The number of bits in which two hashes differ, 0 to 64."""
    return ((first ^ second) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()


def progressive_bomb(side: int, scans: int) -> bytes:
    """A progressive picture whose last scan is repeated: a few kB, and each costs a pass."""
    data = encode(Image.new("RGB", (side, side), "red"), progressive=True, quality=95)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"
