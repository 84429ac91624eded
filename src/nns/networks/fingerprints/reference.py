"""Fixed inputs that every network is shown for its fingerprint: photographs, digits, noise, letters and drawings.

The photographs and digits come from scikit-learn, the noise from a seeded generator, letters and drawings from a sheet
in this package (drawn by benchmarks/fingerprints/draw_reference.py). They stay the same for ever, so that fingerprints
made anywhere can be compared.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from nns.backends.batches import normalise
from nns.types import Preprocessing

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

REFERENCE_COUNT = 64
REFERENCE_SIZE = 96
REFERENCE_VERSION = 1
"""Raised whenever the images change; fingerprints of two versions cannot be compared."""

NOISE_SEED = 777


@lru_cache(maxsize=1)
def reference_images() -> NDArray[np.uint8]:
    """Make the reference images, (REFERENCE_COUNT, 3, REFERENCE_SIZE, REFERENCE_SIZE) uint8.

    16 crops of two photographs, 8 handwritten digits, 8 images of coloured noise with a 1/f spectrum, 16 letters,
    16 drawings in the manner of icons and emoji.
    """
    from sklearn.datasets import load_digits, load_sample_images

    rng = np.random.default_rng(REFERENCE_VERSION)
    images = []
    for photo in load_sample_images().images:
        for _ in range(8):
            side = int(rng.integers(REFERENCE_SIZE, 3 * REFERENCE_SIZE))
            top, left = (int(rng.integers(0, photo.shape[axis] - side)) for axis in (0, 1))
            images.append(_resize(photo[top : top + side, left : left + side]))
    digits = load_digits().images
    for index in range(8):
        grey = (digits[index] / 16 * 255).astype(np.uint8)
        images.append(_resize(np.repeat(grey[:, :, None], 3, axis=2)))
    images += [_pink_noise(rng) for _ in range(8)]
    images += _drawings()
    return np.stack(images).transpose(0, 3, 1, 2).copy()


def _drawings() -> list[NDArray[np.uint8]]:
    """Cut the sheet of letters and drawings into its tiles, row by row."""
    from PIL.PngImagePlugin import PngImageFile

    with files("nns.networks.fingerprints").joinpath("drawings.png").open("rb") as sheet:
        pixels = np.asarray(PngImageFile(sheet).convert("RGB"))
    rows, columns = pixels.shape[0] // REFERENCE_SIZE, pixels.shape[1] // REFERENCE_SIZE
    tiles = pixels.reshape(rows, REFERENCE_SIZE, columns, REFERENCE_SIZE, 3).swapaxes(1, 2)
    return list(tiles.reshape(-1, REFERENCE_SIZE, REFERENCE_SIZE, 3))


def _resize(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((REFERENCE_SIZE, REFERENCE_SIZE), Image.Resampling.BILINEAR))


def _pink_noise(rng: np.random.Generator) -> NDArray[np.uint8]:
    frequency = np.hypot(np.fft.fftfreq(REFERENCE_SIZE)[:, None], np.fft.fftfreq(REFERENCE_SIZE)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((3, REFERENCE_SIZE, REFERENCE_SIZE))) / frequency
    spectrum[:, 0, 0] = 0
    noise = np.fft.ifft2(spectrum).real
    noise = noise / noise.std() * 50 + 128
    clipped: NDArray[np.uint8] = noise.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return clipped


def reference_batch(preprocessing: Preprocessing) -> torch.Tensor:
    """Return the reference images at a network's own input, (REFERENCE_COUNT, 3, size, size) float32."""
    import torch
    from torch.nn import functional as F

    images = torch.from_numpy(reference_images()).float()
    size = (preprocessing.size, preprocessing.size)
    return normalise(F.interpolate(images, size=size, mode="bilinear", antialias=True), preprocessing)


def noise_image(size: int) -> torch.Tensor:
    """Make the fixed Gaussian noise image of TANS, (1, 3, size, size) float32, not normalised further."""
    import torch

    generator = torch.Generator().manual_seed(NOISE_SEED)
    return torch.randn(1, 3, size, size, generator=generator)
