"""How deep and transparent images become 8 bits of RGB: the same way for all images of a dataset.

What is black in one image must not be grey in the next, so the range of values and the colour behind transparency are
chosen once for a dataset, from some of its images, and go with a network that was fine-tuned on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nns.data.depth import Kind, Span, Values, span_of

WHITE, BLACK = 255, 0
BACKGROUNDS = (WHITE, BLACK, 128, 192, 64)
"""What transparency may be laid onto, the best liked first."""

_CONTRAST = 24  # levels: less is not seen
_FEW = 0.02  # of the images: so few do not turn all others, they are told as blank
_OPAQUE = 8  # an alpha channel that is nowhere higher is none: it was left empty, or holds 0 and 1
_WIDER = 4  # times as wide a range as that of nearly all other images is an odd one
_VALUES = 20_000  # of an image, in the range of its dataset
_SIDE = 128


@dataclass(frozen=True)
class Rendering:
    """What was chosen for a dataset.

    Attributes:
        integers: Range of integers of more than 8 bits that becomes 0..255; None: each image's own.
        floats: Likewise of floats.
        background: Grey level, 0..255, that transparency is laid onto; None: what shows the image.
    """

    integers: Span | None = None
    floats: Span | None = None
    background: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used: it may come from a file."""
        for span in (self.integers, self.floats):
            if span is not None and not (all(map(math.isfinite, span)) and span[0] < span[1]):
                raise ValueError(f"{span} is no range of values")
        if self.background is not None and not 0 <= self.background <= 255:
            raise ValueError(f"a background of {self.background} is not in 0..255")

    def span(self, kind: Kind, values: Callable[[], Values]) -> Span:
        """Return the range for an image; its own where none was chosen."""
        chosen = self.integers if kind == "integers" else self.floats
        return chosen or span_of(values(), kind)

    def behind(self, colours: Image.Image, alpha: Image.Image) -> int:
        """Return the background for an image; its own where none was chosen."""
        return best_background([shown_on(colours, alpha)]) if self.background is None else self.background

    def ranges(self) -> str:
        """Say which values become 0 and 255; empty where none were chosen."""
        spans = [span for span in (self.integers, self.floats) if span]
        return ", ".join(f"{low:g} becomes 0 and {high:g} becomes 255" for low, high in spans)

    def ground(self) -> str:
        """Say what transparency is laid onto; empty where that was not chosen."""
        return "" if self.background is None else {WHITE: "white", BLACK: "black"}.get(self.background, "grey")


OWN = Rendering()
"""Each image for itself."""

Rendered = Callable[[], Rendering]
"""Gives the rendering of a dataset; only asked for deep and transparent images, so that others cost nothing."""


@dataclass
class Survey:
    """What some images of a dataset need."""

    values: dict[Kind, list[NDArray[np.float64]]] = field(default_factory=dict)
    shown: list[tuple[bool, ...]] = field(default_factory=list)
    images: int = 0

    def add_values(self, kind: Kind, values: Values) -> None:
        """Add some of the values of an image, evenly."""
        flat = values.reshape(-1)
        some = flat[:: math.ceil(flat.size / _VALUES) or 1]
        self.values.setdefault(kind, []).append(some.astype(np.float64))

    def choose(self) -> Rendering:
        """Choose for all."""
        spans: dict[str, Span] = {}
        for kind, parts in self.values.items():
            pooled = np.concatenate(_alike(parts))
            if np.isfinite(pooled).any():
                spans[kind] = span_of(pooled, kind)
        return Rendering(**spans, background=best_background(self.shown) if self.shown else None)


def _alike(parts: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Leave out images whose values spread several times as far as those of nine in ten of the others do."""
    finite = [part[np.isfinite(part)] for part in parts]
    spreads = np.array([np.subtract(*np.quantile(part, (0.99, 0.01))) if part.size else 0.0 for part in finite])
    if not spreads.any():
        return parts
    most = _WIDER * float(np.quantile(spreads[spreads > 0], 0.9, method="lower"))
    return [part for part, spread in zip(parts, spreads, strict=True) if spread <= most]


def is_opaque(colours: Image.Image, alpha: Image.Image) -> bool:
    """Return whether transparency is none: nowhere, or everywhere though there is something to see."""
    low, high = _extrema(alpha)[0]
    return low == 255 or (high < _OPAQUE and any(top - least >= _CONTRAST for least, top in _extrema(colours)))


def shown_on(colours: Image.Image, alpha: Image.Image) -> tuple[bool, ...]:
    """Return for each of :data:`BACKGROUNDS` whether anything of an image can be seen on it."""
    rgba = Image.merge("RGBA", (*colours.split(), alpha))
    rgba.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
    pixels = np.asarray(rgba).astype(np.int32)
    weight = pixels[..., 3:]
    return tuple(bool((abs(pixels[..., :3] - grey) * weight).max() >= _CONTRAST * 255) for grey in BACKGROUNDS)


def best_background(shown: Iterable[Sequence[bool]]) -> int:
    """Choose what shows the most images, or hardly fewer: the first such of :data:`BACKGROUNDS`."""
    shares = np.mean([*shown], axis=0)
    return BACKGROUNDS[int(np.argmax(shares >= shares.max() - _FEW))]


def _extrema(image: Image.Image) -> tuple[tuple[int, int], ...]:
    found = image.getextrema()
    return found if isinstance(found[0], tuple) else (found,)  # type: ignore[return-value]
