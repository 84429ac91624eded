"""Random shifts of pictures, each by its own amount."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shifted(images: NDArray[np.uint8], most: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shift (n, size, size, 3) pictures by up to ``most`` pixels each way; what comes in is the mirrored edge.

    The teacher has seen the picture where it was: a student learns that the features do not move with it. Nothing is
    flipped or recoloured, since then the teacher's features would be those of another picture.
    """
    n, size = images.shape[:2]
    rows, columns = (rng.integers(-most, most + 1, (n, 1)) + np.arange(size) for _ in range(2))
    rows, columns = (_mirrored(places, size) for places in (rows, columns))
    return images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _mirrored(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    places = np.abs(places)
    return np.where(places >= size, 2 * (size - 1) - places, places)
