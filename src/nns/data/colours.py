"""Any mode of Pillow, with any form of transparency, becomes 8 bits of RGB: the one path for all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from nns.data.depth import Kind, Span, has_wide_values, kind_of, read_values, to_eight_bits
from nns.data.profiles import to_srgb
from nns.data.rendering import OWN, Rendered, Survey, is_opaque, shown_on

_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_MAY_BE_TRANSPARENT = frozenset({"1", "L", "P", "RGB", "LA", "La", "PA", "RGBA", "RGBa"})
_FULL: Span = (0.0, 65535.0)


def to_rgb(image: Image.Image, reopen: Callable[[], Image.Image], rendered: Rendered | None = None) -> Image.Image:
    """Bring an image to RGB.

    Args:
        image: Any image.
        reopen: Opens it once more; see :func:`nns.data.depth.read_values`.
        rendered: Gives the rendering of its dataset; None: its own.

    Raises:
        ValueError: If no pixel is a finite number.
    """
    if image.mode == "RGB" and not image.has_transparency_data and kind_of(image) is None:
        image.load()
        return to_srgb(image, image.info.get("icc_profile"))
    colours, alpha = _layers(image, reopen, rendered)
    if alpha is None or is_opaque(colours, alpha):
        return colours
    grey = (rendered() if rendered else OWN).behind(colours, alpha)
    canvas = Image.new("RGBA", image.size, (grey, grey, grey, 255))
    canvas.alpha_composite(Image.merge("RGBA", (*colours.split(), alpha)))
    return canvas.convert("RGB")


def survey(image: Image.Image, reopen: Callable[[], Image.Image], found: Survey) -> None:
    """Add what an image says about the rendering of its dataset; nothing where it is neither deep nor transparent."""
    kind = kind_of(image)
    if kind is None and not image.has_transparency_data:
        return
    transparent = image.has_transparency_data
    found.images += 1
    if kind is not None:
        image.load()
        found.add_values(kind, read_values(image, reopen))
    if transparent:
        colours, alpha = _layers(reopen() if kind is not None else image, reopen, None)
        if alpha is not None and not is_opaque(colours, alpha):
            found.shown.append(shown_on(colours, alpha))


def _layers(
    image: Image.Image, reopen: Callable[[], Image.Image], rendered: Rendered | None
) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours in sRGB, as if all were opaque, and how opaque they are; None: all are."""
    kind, key = kind_of(image), _transparent_value(image)  # before it is loaded: afterwards nothing tells
    image.load()
    profile = image.info.get("icc_profile")
    if kind is not None:
        return _deep_layers(image, reopen, kind, key, rendered)
    if image.has_transparency_data and image.mode in _MAY_BE_TRANSPARENT:
        image = image.convert(_PREMULTIPLIED.get(image.mode, image.mode))
        if key is not None:
            image.info["transparency"] = key
        rgba = image.convert("RGBA")
        grey = image.mode in ("1", "L", "LA")
        return _coloured(image.convert("L") if grey else rgba.convert("RGB"), profile), rgba.getchannel("A")
    return _coloured(image.convert("L") if image.mode == "1" else image, profile), None


def _deep_layers(
    image: Image.Image, reopen: Callable[[], Image.Image], kind: Kind, key: object, rendered: Rendered | None
) -> tuple[Image.Image, Image.Image | None]:
    coloured = not image.mode.startswith(("I", "F"))
    profile = image.info.get("icc_profile")
    values = None if coloured and has_wide_values(image) and key is None else read_values(image, reopen)
    span = _FULL
    if values is not None or rendered is not None:
        span = (rendered() if rendered else OWN).span(kind, lambda: read_values(image, reopen))
    if coloured and span == _FULL:
        eight = image  # the upper bytes: what Pillow gives, and what every other program makes of it
    else:
        eight = Image.fromarray(to_eight_bits(read_values(image, reopen) if values is None else values, span))
    alpha = _alpha_within(image.getchannel("A"), span) if image.mode == "RGBA" else None
    if key is not None and values is not None:
        same = values == key if values.ndim == 2 else (values == np.array(key)).all(-1)
        alpha = Image.fromarray(np.where(same, 0, 255).astype(np.uint8))
    return _coloured(eight.convert("RGB") if coloured else eight, profile), alpha


def _alpha_within(alpha: Image.Image, span: Span) -> Image.Image:
    """Scale an alpha channel that has no more bits than the colours have, of which these are the upper eight."""
    top = int(span[1]) // 256
    if not 0 < top < 255 or alpha.getextrema()[1] > top:  # type: ignore[operator]
        return alpha
    return alpha.point([min(255, value * 255 // top) for value in range(256)])


def _coloured(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring opaque colours to sRGB; palettes and grey may have a profile of RGB."""
    image = to_srgb(image, profile)
    if image.mode == "RGB":
        return image
    return to_srgb(image.convert("RGB"), profile)


def _transparent_value(image: Image.Image) -> object:
    """Return the value of a PNG that is transparent, as its pixels have it; None if there is none, or a palette's."""
    value = image.info.get("transparency")
    if value is None or image.mode == "P":
        return None
    tiles = getattr(image, "tile", None) or ()
    raw = tiles[0][3] if tiles else None
    # Pillow scales pixels of 2 and 4 bits to 0..255, but not this
    return value * {"L;2": 85, "L;4": 17}[raw] if raw in ("L;2", "L;4") else value
