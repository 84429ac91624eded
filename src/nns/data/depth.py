"""Images of more than 8 bits a channel: their values, and the range of values that becomes 0..255."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Kind = Literal["integers", "floats"]
Span: TypeAlias = tuple[float, float]
"""The value that becomes 0, and the one that becomes 255."""

Values: TypeAlias = NDArray[Any]
"""Integers or floats."""

_TOPS: dict[Kind, tuple[float, ...]] = {
    "integers": (255.0, 1023.0, 4095.0, 16383.0, 65535.0),  # 8, 10, 12, 14 and 16 bits
    "floats": (1.0, 255.0),
}
_USED = 0.25  # a range that is used less than this is stretched
_AT_ONCE = 2**20
_OUTSIDE = 0.001  # of the values, at either end: hot pixels do not set the range
_NARROWEST = 1 / 64  # a gap below values closer together than this part of it is what they are about, as in a mask
_NODATA = 42113  # GDAL's tag of a TIFF: the value of pixels that have none
_RAW = ("RGB;16", "RGBX;16", "RGBA;16", "LA;16")


def kind_of(image: Image.Image) -> Kind | None:
    """Return what the values of a deep image are, before it is loaded; None: it has 8 bits or less."""
    if image.mode == "F":
        return "floats"
    return "integers" if image.mode.startswith("I") or _raw_mode(image).startswith(_RAW) else None


def read_values(image: Image.Image, reopen: Callable[[], Image.Image]) -> Values:
    """Return the values of a deep image, (height, width) or (height, width, 3), NaN where it says that it has none.

    Args:
        image: The image.
        reopen: Opens it once more. Of a colour image Pillow gives the upper byte of each value, so a second decoding
            gives the lower one.
    """
    if image.mode.startswith(("I", "F")):
        values: Values = np.asarray(image)
        nodata = _nodata(image)
        missing = None if nodata is None else np.isclose(values, nodata, rtol=1e-6, atol=0)
        return values if missing is None or not missing.any() else np.where(missing, np.nan, values)
    with reopen() as other:
        raw = _raw_mode(other)
        lower = "RGBA" if raw == "LA;16B" else raw[:-1] + ("L" if raw.endswith("B") else "B")
        tiles = [(*each[:3], _with_raw(each[3], lower)) for each in other.tile]  # type: ignore[attr-defined]
        other.tile = tiles  # type: ignore[attr-defined]
        values = np.asarray(other)[..., [1, 1, 1] if raw == "LA;16B" else [0, 1, 2]].astype(np.uint16)
    values += np.asarray(image)[..., :3].astype(np.uint16) << 8
    return values


def has_wide_values(image: Image.Image) -> bool:
    """Return whether a deep colour image has values of more than 14 bits; loads it."""
    return max(top for _, top in _extrema(image)[:3]) >= 64


def span_of(values: Values, kind: Kind) -> Span:
    """Choose the range of values that becomes 0..255.

    Values that lie apart from all others (-9999 for "none", a hot pixel) and a thousandth at either end do not count.
    If what is left fits into 8, 10, 12, 14 or 16 bits, or into 0..1 or 0..255 for floats, and uses a quarter of that,
    that is the range; any other is stretched from its lowest to its highest value.

    Raises:
        ValueError: No value is a finite number.
    """
    flat = values.reshape(-1)
    some = flat[:: max(1, flat.size // _AT_ONCE)].astype(np.float64)
    finite = some[np.isfinite(some)]
    if not finite.size:
        raise ValueError("no pixel is a finite number")
    finite = _without_outlier(_without_outlier(finite, kind), kind)
    low = float(np.quantile(finite, _OUTSIDE, method="lower"))
    high = float(np.quantile(finite, 1 - _OUTSIDE, method="higher"))
    if low == high:  # a few pixels on an empty ground
        low, high = float(finite.min()), float(finite.max())
    top = next((top for top in _TOPS[kind] if high <= top), math.inf)
    if low >= 0 and (low == high or high - low >= _USED * top) and math.isfinite(top):
        return 0.0, top
    return (low, high) if high > low else (low, low + 1.0)


def to_eight_bits(values: Values, span: Span) -> NDArray[np.uint8]:
    """Scale values to 0..255; NaN becomes 0, infinities the ends."""
    if values.dtype == np.uint16:
        return _scaled(np.arange(65536), span)[values]
    eight = np.empty(values.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, values[:1].size))  # a large image would take eight bytes a value, several times
    for start in range(0, len(values), rows):
        eight[start : start + rows] = _scaled(values[start : start + rows], span)
    return eight


def _scaled(values: Values, span: Span) -> NDArray[np.uint8]:
    low, high = span
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0), 0, 255)).astype(np.uint8)


def _without_outlier(values: NDArray[np.float64], kind: Kind) -> NDArray[np.float64]:
    """Leave out the lowest or highest value where it is further from all others than they are from one another."""
    lowest, highest = float(values.min()), float(values.max())
    for end, rest in ((lowest, values[values > lowest]), (highest, values[values < highest])):
        if not rest.size:
            continue
        low, high = float(rest.min()), float(rest.max())
        gap = max(low - end, end - high)
        narrowest = gap * _NARROWEST if kind == "integers" and end >= 0 else 0.0
        if gap > high - low > narrowest:
            found: NDArray[np.float64] = rest
            return found
    return values


def _raw_mode(image: Image.Image) -> str:
    """Return how the pixels lie in the file, ``RGB;16B`` say; empty for what was loaded or is no file."""
    tiles = getattr(image, "tile", None) or ()
    args = tiles[0][3] if tiles else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) and len(tiles) >= 1 else ""


def _with_raw(args: object, raw: str) -> object:
    return (raw, *args[1:]) if isinstance(args, tuple) else raw


def _nodata(image: Image.Image) -> float | None:
    try:
        return float(str(image.tag_v2[_NODATA]).strip("\0 "))  # type: ignore[attr-defined]
    except (AttributeError, KeyError, ValueError):
        return None


def _extrema(image: Image.Image) -> tuple[tuple[int, int], ...]:
    return tuple(image.getextrema())  # type: ignore[arg-type]
