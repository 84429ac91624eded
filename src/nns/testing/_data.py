"""Tiny datasets that are made in milliseconds and can be told apart by any network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nns.types import LabelledArrays, SplitArrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOISE = 20.0
"""Standard deviation of the noise on every pixel, out of 255."""


def tiny_split_arrays(
    classes: int = 3, per_class: int = 8, size: int = 32, *, seed: int = 0, test: bool = False
) -> SplitArrays:
    """Make a decoded dataset: stripes, whose direction and colour tell the class, under noise.

    Args:
        classes: Number of classes.
        per_class: Training images a class; validation and test have half as many.
        size: Side of the images in pixels.
        seed: Of the noise and the positions of the stripes.
        test: Whether there is a test split.

    Returns:
        The splits; equal arguments give equal arrays.
    """
    rng = np.random.default_rng(seed)
    held_out = max(1, per_class // 2)
    return SplitArrays(
        name="tiny",
        classes=tuple(f"class-{label}" for label in range(classes)),
        train=_split(rng, classes, per_class, size),
        val=_split(rng, classes, held_out, size),
        test=_split(rng, classes, held_out, size) if test else None,
    )


def tiny_image_folder(folder: Path, classes: int = 3, per_class: int = 12, size: int = 32, *, seed: int = 0) -> Path:
    """Write the images of :func:`tiny_split_arrays` as ``folder/class-N/M.png``.

    Args:
        folder: Where to; made if it is not there.
        classes: Number of classes.
        per_class: Images a class.
        size: Side of the images in pixels.
        seed: Of the images.

    Returns:
        The folder.
    """
    from PIL import Image

    split = _split(np.random.default_rng(seed), classes, per_class, size)
    for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        path = folder / f"class-{label}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return folder


def _split(rng: np.random.Generator, classes: int, per_class: int, size: int) -> LabelledArrays:
    labels = np.repeat(np.arange(classes, dtype=np.int64), per_class)
    images = np.stack([_stripes(rng, int(label), classes, size) for label in labels])
    return LabelledArrays(images, labels)


def _stripes(rng: np.random.Generator, label: int, classes: int, size: int) -> NDArray[np.uint8]:
    angle = np.pi * label / classes
    rows, columns = np.mgrid[:size, :size] / size
    wave = np.sin(2 * np.pi * (4 * (rows * np.sin(angle) + columns * np.cos(angle)) + rng.random()))
    colour = 128 + 80 * np.cos(2 * np.pi * (label / classes + np.arange(3) / 3))
    image = colour[:, None, None] + 40 * wave + NOISE * rng.standard_normal((3, size, size))
    stripes: NDArray[np.uint8] = image.clip(0, 255).astype(np.uint8)
    return stripes
