"""Colour profiles: pixels that were made for another colour space become sRGB."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, features

from nns.data.listening import say

MAX_PROFILE = 8 * 2**20
"""Bytes of a colour profile that is used. Those of printers have three megabytes; Pillow refuses a PNG for one."""

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
_SAME = 3  # levels: a profile that changes no colour by more is sRGB, by whatever name


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image of mode RGB, L, CMYK or LAB by its profile.

    Returns:
        RGB; or the image as it is where the profile is none, is sRGB, is of other colours, or cannot be used.
    """
    if not profile and image.mode != "LAB":
        return image
    transform = _transform(profile or b"", image.mode) if len(profile or b"") <= MAX_PROFILE else "it is too large"
    if isinstance(transform, str):
        say(f"the colour profile cannot be used: {transform}")
        return image
    converted: Image.Image = image if transform is None else transform.apply(image)
    return converted


def changes_colours(mode: str, profile: bytes | None) -> bool:
    """Return whether a profile is used for an image of a mode, and is not sRGB."""
    modes = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK", "LAB": "LAB"}
    if not profile or len(profile) > MAX_PROFILE:
        return False
    return not isinstance(_transform(profile, modes.get(mode, "L" if mode[0] in "IF" else "RGB")), str | None)


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> Any:
    """Make a transform to sRGB; None for a profile that is not needed, or why it cannot be used."""
    if not features.check("littlecms2"):
        return None
    from PIL import ImageCms

    try:
        made_for: Any = ImageCms.ImageCmsProfile(BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        if profile and made_for.profile.xcolor_space != _SPACES.get(mode):
            return _transform(b"", mode) if mode == "LAB" else None
        transform = ImageCms.buildTransform(made_for, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return str(error)
    return None if mode in ("RGB", "L") and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: Any, mode: str) -> bool:
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * 3), -1).reshape(18 * 18, 18, 3)
    image = Image.fromarray(grid if mode == "RGB" else grid[..., 0])
    before = np.asarray(image.convert("RGB")).astype(int)
    return bool(abs(np.asarray(transform.apply(image)).astype(int) - before).max() <= _SAME)
