"""Cutting squares out of pictures: how many of each, where, how large, on what ground."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = (64, 80)
"""Pixels a side: 64 is what students look at, 80 what their teacher looks at."""
SMALLEST_CROP = 64
LEAST_DEVIATION = 6.0
"""Grey levels; flatter crops (sky, black space, empty sprites) show nothing to tell apart."""
TRIES = 3


def weight(size: tuple[int, int]) -> float:
    """Weigh a picture by how many different crops it has in it: 1 for a sprite, 30 for a wallpaper of 4K."""
    return max(1.0, min(30.0, (size[0] * size[1]) ** 0.5 / 96))


def cut(image: Image.Image, count: int, rng: np.random.Generator) -> Iterator[list[NDArray[np.uint8]]]:
    """Cut up to ``count`` squares, each resized to all of :data:`SIZES`.

    Sides are drawn evenly on a log scale from 64 px to the whole of the shorter side: one crop shows a wall, another a
    brick of it. A picture of less than 96 px is taken whole. Flat crops are drawn anew, at most :data:`TRIES` times.

    Yields:
        Arrays (size, size, 3), one for each size.
    """
    ground = tuple(int(v) for v in rng.integers(0, 256, 3)) if rng.random() < 0.5 else (255, 255, 255)
    shown = _on_ground(image, ground)
    shortest = min(shown.size)
    if shortest < 1.5 * SMALLEST_CROP:
        squares = _resized(_squared(shown, ground))
        if squares[0].std() >= LEAST_DEVIATION:
            yield squares
        return
    for _ in range(count):
        for _ in range(TRIES):
            side = round(float(np.exp(rng.uniform(np.log(SMALLEST_CROP), np.log(shortest)))))
            left, top = (int(rng.integers(0, length - side + 1)) for length in shown.size)
            squares = _resized(shown.crop((left, top, left + side, top + side)))
            if squares[0].std() >= LEAST_DEVIATION:
                yield squares
                break


def _on_ground(image: Image.Image, ground: tuple[int, ...]) -> Image.Image:
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (*ground, 255)), image).convert("RGB")
    return image.convert("RGB")


def _squared(image: Image.Image, ground: tuple[int, ...]) -> Image.Image:
    side = max(image.size)
    square = Image.new("RGB", (side, side), ground)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _resized(image: Image.Image) -> list[NDArray[np.uint8]]:
    """Resize from the original to each size; ``reducing_gap`` halves the time of large crops, to the eye the same."""
    resample = Image.Resampling.BICUBIC if image.width < SIZES[-1] else Image.Resampling.LANCZOS
    return [np.asarray(image.resize((s, s), resample, reducing_gap=2.0)) for s in SIZES]
