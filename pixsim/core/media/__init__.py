"""What a picture, a sound or a film is, and a small picture of it, found out in confined children.

    parent   client.examine      asks a child; what it answers is checked, and is numbers and pixels
    child    decoder.serve       decodes; see `pixsim.core.confined` for what it cannot do

Untrusted bytes are decoded nowhere else. Limits: MAX_PIXELS per picture, MAX_ALL_PIXELS
over all frames of an animation, MAX_FRAMES; processor time by the size of the file, 3 s for a small one;
memory; and the caller's deadline.
"""

from pixsim.core.confined import Unavailable
from pixsim.core.media.client import Medium, Pixels, Undecodable, examine

__all__ = ["Medium", "Pixels", "Unavailable", "Undecodable", "examine"]
