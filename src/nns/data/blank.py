"""Is there anything to see in an image, once it is decoded?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WORTH_SAYING = 0.05
"""Share of images with little to see in them from which a search or a fine-tuning says so."""

_OUTSIDE = 0.001  # of the pixels, at either end: a hot pixel does not make a picture
_NEARLY = 8  # levels of the 256
_NARROW = 32


def what_is_blank(image: Image.Image) -> str:
    """Say what the pixels of an RGB image lack; empty where they are fine."""
    if all(low == high for low, high in image.getextrema()):  # type: ignore[misc]
        return "of one colour"
    counts = np.array(image.histogram()).reshape(3, 256).cumsum(axis=1)
    outside = _OUTSIDE * image.width * image.height
    low, high = (counts > outside).argmax(axis=1), (counts >= counts[:, -1:] - outside).argmax(axis=1)
    return _lack(low, high) or ""


def what_are_blank(images: NDArray[np.uint8]) -> list[str]:
    """Say of each of decoded images, (n, 3, size, size), what :func:`what_is_blank` says of one, roughly."""
    lows, highs = images.min(axis=(2, 3), initial=255), images.max(axis=(2, 3), initial=0)
    return [_lack(low, high) for low, high in zip(lows.astype(int), highs.astype(int), strict=True)]


def _lack(low: NDArray[np.integer], high: NDArray[np.integer]) -> str:
    """Judge an image by the lowest and the highest value of its channels."""
    if (spread := int((high - low).max())) <= _NEARLY:
        return "nearly of one colour" if spread else "of one colour"
    if high.max() < _NARROW:
        return "nearly black"
    if low.min() > 255 - _NARROW:
        return "nearly white"
    return "of hardly any contrast" if spread < _NARROW else ""
