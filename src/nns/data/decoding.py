"""One image file becomes one uint8 array: what counts as readable, and which pixels come out.

The rules, the same for training, search and doctor:

- the shorter side is resized to ``size`` (antialiased bicubic) and the centre square is kept, so nothing
  is squashed and every image has one size;
- the EXIF orientation is applied, of an animation the first frame counts;
- transparency of any kind is laid onto white;
- 16-bit grey is divided by 257; other deep images are scaled by what they hold (:func:`to_eight_bits`);
- a truncated file is unreadable, never half an image, and more than :data:`MAX_PIXELS` are refused.

Imports nothing but PIL and numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nns.data.items import ImageSource
from nns.data.reading import open_image
from nns.errors import DatasetError
from nns.untrusted import RefusedFileError

Opener: TypeAlias = Callable[[ImageSource], Image.Image]
"""Opens an image without decoding it; that of a dataset, :meth:`nns.data.reading.ImageReader.open`, keeps the bytes."""

MAX_PIXELS = 100_000_000
"""Images with more pixels are refused: a decompression bomb looks the same."""

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_REDUCING_GAP = 1.5  # decode and pre-shrink to no less than this many times the wanted size: fast, not visible


@dataclass(frozen=True)
class ImageFacts:
    """What the header of a readable image says.

    Attributes:
        width: Pixels, before the EXIF orientation is applied.
        height: Pixels, likewise.
        mode: Pillow's mode, e.g. ``"RGB"``, ``"P"``, ``"I;16"``, ``"CMYK"``.
        transparent: It has an alpha channel or a transparent colour.
        rotated: Its EXIF orientation is not upright.
        animated: It has several frames.
    """

    width: int
    height: int
    mode: str
    transparent: bool
    rotated: bool
    animated: bool


def decode(source: ImageSource | str, size: int) -> NDArray[np.uint8]:
    """Decode one image: shorter side to ``size``, centre square, RGB.

    Args:
        source: A path, or an image held in memory.
        size: Side of the square in pixels.

    Returns:
        (3, size, size) uint8.

    Raises:
        DatasetError: The image cannot be read; the message says why.
    """
    source = Path(source) if isinstance(source, str) else source
    result = try_decode(source, size)
    if isinstance(result, str):
        raise DatasetError(f"cannot read {str(source)!r}: {result}; repair or remove it")
    return result


def try_decode(source: ImageSource, size: int, opener: Opener = open_image) -> NDArray[np.uint8] | str:
    """Decode like :func:`decode`, but return the reason where the image cannot be read.

    Returns:
        (3, size, size) uint8, or a short reason.
    """
    try:
        with _open(source, opener) as image:
            square = _upright(_to_rgb(_shrunk(image, size)), _orientation(image), size)
            return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise nearly every builtin on a bad file
        return _reason(error)


def examine(source: ImageSource, opener: Opener = open_image) -> ImageFacts | str:
    """Decode an image to see whether it is readable by :func:`decode`, and tell what it is.

    Returns:
        The facts, or a short reason why it cannot be read.
    """
    try:
        with _open(source, opener) as image:
            width, height = image.size  # before the decoder shrinks it
            _to_rgb(_shrunk(image, size=8))
            return ImageFacts(
                width=width,
                height=height,
                mode=image.mode,
                transparent=image.has_transparency_data,
                rotated=_orientation(image) in _UPRIGHT,
                animated=_animated(image),
            )
    except Exception as error:  # noqa: BLE001 - as in try_decode
        return _reason(error)


def _open(source: ImageSource, opener: Opener) -> Image.Image:
    """Open an image, and refuse bombs before a pixel is decoded."""
    image = opener(source)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


def _shrunk(image: Image.Image, size: int) -> Image.Image:
    """Let the JPEG decoder shrink by 2, 4 or 8 while it decodes; load every other image as it is."""
    if image.format == "JPEG":
        scale = min(1.0, _REDUCING_GAP * size / min(image.size))
        image.draft(None, (int(image.width * scale), int(image.height * scale)))
    image.load()
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB, with transparency laid onto white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(to_eight_bits(np.asarray(image), image.mode))
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    image = image.convert("RGBA")
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def to_eight_bits(pixels: NDArray[np.generic], mode: str) -> NDArray[np.uint8]:
    """Scale the pixels of a deep grey image to 0..255.

    Args:
        pixels: (height, width) of any number type.
        mode: Pillow's mode. ``I;16`` and its kin span 0..65535. Of ``I`` and ``F`` the span is not
            known, so what the image holds decides: values within 0..1 (``F``), 0..255 or 0..65535 (``I``)
            are taken to span that range, all others are stretched from their minimum to their maximum.

    Returns:
        (height, width) uint8; NaN becomes 0, infinities the ends.

    Raises:
        ValueError: No pixel is a finite number.
    """
    values = pixels.astype(np.float64)
    low, high = 0.0, 65535.0
    if not mode.startswith("I;16"):
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise ValueError("no pixel is a finite number")
        low, high = _span(float(finite.min()), float(finite.max()), mode)
    scaled = (values - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0), 0, 255)).astype(np.uint8)


def _span(low: float, high: float, mode: str) -> tuple[float, float]:
    """Choose the range of values that becomes 0..255."""
    for top in (1.0, 255.0) if mode == "F" else (255.0, 65535.0):
        if low >= 0 and high <= top:
            return 0.0, top
    return (low, high) if high > low else (low, low + 1.0)


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; a damaged EXIF block counts as none."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - the pixels are fine all the same
        return 1


def _animated(image: Image.Image) -> bool:
    """Look for a second frame; a damaged one counts as none, for only the first is used."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - as in _orientation
        return False


def _upright(image: Image.Image, orientation: int, size: int) -> Image.Image:
    """Cut and resize the centre square, then turn it: a centred square may be turned last."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=_REDUCING_GAP)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _reason(error: Exception) -> str:
    """Say in a few words why an image cannot be read."""
    match error:
        case FileNotFoundError():
            return "no such file"
        case PermissionError():
            return "permission denied"
        case IsADirectoryError():
            return "a folder, not an image"
        case RefusedFileError():
            return str(error.strerror)
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return f"more than {MAX_PIXELS // 10**6} million pixels"
        case UnidentifiedImageError():
            return "not an image, or of a format that Pillow does not know"
        case _:
            text = str(error).strip() or type(error).__name__
            return text if "truncated" in text.lower() else f"damaged: {text}"
