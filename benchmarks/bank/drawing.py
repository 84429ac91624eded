"""What a task is made of: pictures by class, each able to draw itself at a size, from a generator."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Protocol

import numpy as np
from PIL import Image

from bank.packages import Shelf
from bank.tools import RESVG, load_tool


class Picture(Protocol):
    """One possible picture of a class."""

    @property
    def key(self) -> str:
        """Name that is unique within the class and does not depend on the machine."""
        ...

    def draw(self, shelf: Shelf, size: int, rng: Random) -> Image.Image | None:
        """The picture, ``size`` x ``size`` px, or None when there is nothing to see."""
        ...


Collected = Mapping[str, Sequence[Picture]]


@dataclass(frozen=True)
class ImageFile:
    """A raster picture of a package, path relative to the shelf; alpha stays as it is."""

    path: str

    @property
    def key(self) -> str:
        return self.path

    def draw(self, shelf: Shelf, size: int, rng: Random) -> Image.Image | None:
        with Image.open(shelf.root / self.path) as image:
            mode = "L" if image.mode in {"L", "I;16", "I"} else "RGBA"
            return fit_square(image.convert(mode), size)


@dataclass(frozen=True)
class VectorFile:
    """An SVG of a package, path relative to the shelf, rasterised by resvg with its transparent ground."""

    path: str

    @property
    def key(self) -> str:
        return self.path

    def draw(self, shelf: Shelf, size: int, rng: Random) -> Image.Image | None:
        resvg = load_tool(shelf, RESVG)
        try:
            png = resvg.svg_to_bytes(
                svg_path=str(shelf.root / self.path), width=size, height=size, skip_system_fonts=True
            )
        except ValueError:
            return None
        return fit_square(Image.open(io.BytesIO(png)).convert("RGBA"), size)


@dataclass(frozen=True)
class ArrayPicture:
    """Row ``index`` of a grey image array that a loader knows by name, scaled up bilinearly."""

    array: str
    index: int

    @property
    def key(self) -> str:
        return f"{self.array}/{self.index}"

    def draw(self, shelf: Shelf, size: int, rng: Random) -> Image.Image | None:
        from bank.photos import load_array

        grey = load_array(shelf, self.array)[self.index]
        return Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR)


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Scale the longer side to ``size`` and centre on a transparent (RGBA) or black (L) square."""
    if image.size == (size, size):
        return image
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    scaled = image.resize((width, height), Image.Resampling.LANCZOS)
    if width == height:
        return scaled
    square = Image.new(image.mode, (size, size))
    square.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return square


def is_blank(image: Image.Image) -> bool:
    """True when the picture, laid on white, shows nothing but one colour."""
    pixels = np.asarray(on_white(image).convert("L"))
    return bool(pixels.max() - pixels.min() < 24)


def on_white(image: Image.Image) -> Image.Image:
    """The picture as most readers of alpha show it."""
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


@lru_cache(maxsize=65536)
def relative(path: Path, root: Path) -> str:
    """Path below the shelf, with forward slashes."""
    return path.relative_to(root).as_posix()
