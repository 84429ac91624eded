"""A text drawn from a typeface: one letter or a short word, with seeded size, place and colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bank.fonts import Face
from bank.packages import Shelf

Ink = Literal["plain", "inverse", "colour", "noisy"]

_FILL = 0.66  # part of the square that the text takes, before variation
_LEAST_INK = 0.01  # part of the square below which a rendering counts as blank


@dataclass(frozen=True)
class Glyph:
    """A text in a face. ``take`` tells several drawings of the same text in the same face apart."""

    face: Face
    text: str
    ink: Ink = "plain"
    take: int = 0

    @property
    def key(self) -> str:
        codes = "-".join(f"{ord(character):04X}" for character in self.text)
        return f"{self.face.key}/{codes}/{self.take}"

    def draw(self, shelf: Shelf, size: int, rng: Random) -> Image.Image | None:
        mask = self._mask(shelf, size, rng)
        if mask is None:
            return None
        if self.ink == "noisy":
            mask = mask.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC)
        shown = np.asarray(mask, dtype=np.float32)[..., None] / 255
        if shown.mean() < _LEAST_INK:
            return None
        if self.ink in {"plain", "inverse"}:
            grey = shown[..., 0] * 255
            return Image.fromarray(np.round(grey if self.ink == "inverse" else 255 - grey).astype(np.uint8))
        front, back = _two_colours(rng)
        if self.ink == "colour":
            return Image.fromarray(np.round(shown * front + (1 - shown) * back).astype(np.uint8))
        return _noisy(shown, front, back, rng)

    def _mask(self, shelf: Shelf, size: int, rng: Random) -> Image.Image | None:
        wanted = size * _FILL * rng.uniform(0.85, 1.15)
        shift = [rng.uniform(-0.06, 0.06) * size for _ in range(2)]
        path = str(shelf.root / self.face.path)
        try:
            probe = _font(path, self.face.number, size)
            left, top, right, bottom = probe.getbbox(self.text)
            longest = max(right - left, bottom - top)
            if longest < 2:
                return None
            font = _font(path, self.face.number, max(4, round(size * wanted / longest)))
            left, top, right, bottom = font.getbbox(self.text)
            mask = Image.new("L", (size, size))
            place = ((size - right - left) / 2 + shift[0], (size - bottom - top) / 2 + shift[1])
            ImageDraw.Draw(mask).text(place, self.text, fill=255, font=font)
        except (OSError, ValueError):
            return None  # FreeType cannot read this face, or not at this size
        return mask


@lru_cache(maxsize=256)
def _font(path: str, number: int, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, pixels, index=number, layout_engine=ImageFont.Layout.BASIC)


def _two_colours(rng: Random) -> tuple[np.ndarray, np.ndarray]:
    """Two RGB colours whose luminance differs by 80 of 255 at least."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    while True:
        pair = np.array([[rng.uniform(0, 255) for _ in range(3)] for _ in range(2)], dtype=np.float32)
        if abs(float((pair[0] - pair[1]) @ weights)) > 80:
            return pair[0], pair[1]


def _noisy(shown: np.ndarray, front: np.ndarray, back: np.ndarray, rng: Random) -> Image.Image:
    """Text on a colour gradient, a little blurred, with Gaussian noise; as a photograph of print might be."""
    size = shown.shape[0]
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    slope = rng.uniform(-60, 60) * ramp[:, None, None] + rng.uniform(-60, 60) * ramp[None, :, None]
    pixels = shown * front + (1 - shown) * (back + slope)
    blurred = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.0, 1.2))
    )
    noise = np.random.default_rng(rng.getrandbits(63)).normal(0, rng.uniform(5, 22), pixels.shape)
    return Image.fromarray(np.clip(np.asarray(blurred) + noise, 0, 255).astype(np.uint8))
