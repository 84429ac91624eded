"""One image file becomes one uint8 array: what counts as readable, and which pixels come out.

The rules, the same for training, search and doctor:

- the shorter side is resized to ``size`` (antialiased bicubic) and the centre square is kept, so nothing
  is squashed and every image has one size;
- the EXIF orientation is applied, of an animation the first frame counts;
- colours become sRGB; transparency is laid onto a colour that shows the image, and more than 8 bits are scaled, in the
  same way for all images of a dataset (:mod:`nns.data.rendering`);
- a damaged file is unreadable, never half an image, and more than :data:`MAX_PIXELS` are refused.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nns.data.blank import what_is_blank
from nns.data.colours import survey, to_rgb
from nns.data.depth import kind_of
from nns.data.integrity import DamagedError, check_rows, check_whole, png_content
from nns.data.items import ImageSource
from nns.data.listening import DAMAGED, listening
from nns.data.profiles import changes_colours
from nns.data.reading import open_image
from nns.data.rendering import Rendered, Rendering, Survey
from nns.errors import DatasetError
from nns.untrusted import RefusedFileError

Opener: TypeAlias = Callable[[ImageSource], Image.Image]
"""Opens an image without decoding it; that of a dataset, :meth:`nns.data.reading.ImageReader.open`, keeps the bytes."""

MAX_PIXELS = 100_000_000
"""Images with more pixels are refused: a decompression bomb looks the same."""

SURVEYED = 100
"""Deep and transparent images that decide how those of their dataset are rendered."""

LOOKED_INTO = 2000
"""Images that are opened to find so many of them."""

_LOOKED_AT = 32
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
        deep: It has more than 8 bits a channel.
        recoloured: It has a colour profile that is not sRGB.
        blank: What its pixels lack, e.g. ``"nearly black"``; empty where they are fine.
        warnings: What Pillow or a decoder said about its file.
    """

    width: int
    height: int
    mode: str
    transparent: bool
    rotated: bool
    animated: bool
    deep: bool
    recoloured: bool
    blank: str
    warnings: tuple[str, ...]


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


def try_decode(
    source: ImageSource, size: int, opener: Opener = open_image, rendered: Rendered | None = None
) -> NDArray[np.uint8] | str:
    """Decode like :func:`decode`, but return the reason where the image cannot be read.

    Args:
        source: A path, or an image held in memory.
        size: Side of the square in pixels.
        opener: Opens it.
        rendered: Gives the rendering of its dataset; None: its own.

    Returns:
        (3, size, size) uint8, or a short reason.
    """
    try:
        with listening() as heard, _open(source, opener) as image:
            content = png_content(image)
            rgb = to_rgb(_shrunk(image, size), lambda: opener(source), rendered)
            check_rows(image, content)
            _check_heard(heard)
            square = _upright(rgb, _orientation(image), size)
            return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise nearly every builtin on a bad file
        return _reason(error)


def examine(source: ImageSource, opener: Opener = open_image, rendered: Rendered | None = None) -> ImageFacts | str:
    """Decode an image to see whether it is readable by :func:`decode`, and tell what it is.

    Returns:
        The facts, or a short reason why it cannot be read.
    """
    try:
        with listening() as heard, _open(source, opener) as image:
            width, height = image.size  # before the decoder shrinks it
            deep, profile = kind_of(image) is not None, image.info.get("icc_profile")
            content = png_content(image)
            rgb = to_rgb(_shrunk(image, _LOOKED_AT), lambda: opener(source), rendered)
            check_rows(image, content)
            _check_heard(heard)
            return ImageFacts(
                width=width,
                height=height,
                mode=image.mode,
                transparent=image.has_transparency_data,
                rotated=_orientation(image) in _UPRIGHT,
                animated=_animated(image),
                deep=deep,
                recoloured=changes_colours(image.mode, profile),
                blank=what_is_blank(rgb),
                warnings=tuple(heard),
            )
    except Exception as error:  # noqa: BLE001 - as in try_decode
        return _reason(error)


def choose_rendering(sources: Iterable[ImageSource], opener: Opener = open_image) -> Rendering:
    """Choose how the deep and the transparent images of a dataset become 8 bits of RGB.

    Args:
        sources: Its images; the first :data:`SURVEYED` that are deep or transparent decide.
        opener: Opens them.
    """
    found = Survey()
    for source in islice(sources, LOOKED_INTO):
        with suppress(Exception), listening(), _open(source, opener) as image:
            survey(image, partial(opener, source), found)
        if found.images >= SURVEYED:
            break
    return found.choose()


def _open(source: ImageSource, opener: Opener) -> Image.Image:
    """Open an image, and refuse bombs and damaged files before a pixel is decoded."""
    image = opener(source)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    check_whole(image)
    return image


def _check_heard(heard: Sequence[str]) -> None:
    """Refuse an image that a decoder made of what it could not read."""
    for text in heard:
        if text.startswith(DAMAGED):
            raise DamagedError(text.removeprefix(DAMAGED))


def _shrunk(image: Image.Image, size: int) -> Image.Image:
    """Let the JPEG decoder shrink by 2, 4 or 8 while it decodes."""
    if image.format == "JPEG":
        scale = min(1.0, _REDUCING_GAP * size / min(image.size))
        image.draft(None, (int(image.width * scale), int(image.height * scale)))
    return image


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
        case OSError() if error.errno == errno.ELOOP:
            return "a link that leads nowhere"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return f"more than {MAX_PIXELS // 10**6} million pixels"
        case UnidentifiedImageError():
            return f"not an image: {error}" if str(error) else "not an image, or of a format that is not read"
        case _:
            text = str(error).strip() or type(error).__name__
            return text if "truncated" in text.lower() else f"damaged: {text}"
