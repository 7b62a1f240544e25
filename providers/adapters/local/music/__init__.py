"""Songs from a title and lyrics: composed and played here, the same for the same seed."""

from __future__ import annotations

from providers.adapters.local.music.composing import Score, composed
from providers.adapters.local.music.sounds import as_wav, performed

__all__ = ["Score", "as_wav", "composed", "performed"]
