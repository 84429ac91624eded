"""scikit-learn's handwritten digits as small datasets: real images that come with a dependency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nns.errors import UsageError

DIGITS_PREFIX = "digits:"

IMAGES_A_CLASS = 36


def write_digits(data: str, folder: Path) -> Path:
    """Lay out some of the digits as a folder of class folders.

    The files are written byte by byte as PGM, which needs no encoder: the same bytes on any machine, whatever
    the versions of Pillow and zlib, and so the same digest.

    Args:
        data: ``"digits:012"`` for the classes 0, 1 and 2.
        folder: Where the dataset's folder goes.

    Returns:
        The dataset's folder, ``folder/digits-012``.

    Raises:
        UsageError: If these are not two or more different digits.
    """
    from sklearn.datasets import load_digits

    wanted = data.removeprefix(DIGITS_PREFIX)
    if len(set(wanted)) != len(wanted) or len(wanted) < 2 or not set(wanted) <= set("0123456789"):
        raise UsageError(f"{data!r} must name two or more different digits, as in 'digits:012'")
    digits = load_digits()
    root = folder / f"digits-{wanted}"
    for digit in wanted:
        (root / digit).mkdir(parents=True, exist_ok=True)
        for index in np.flatnonzero(digits.target == int(digit))[:IMAGES_A_CLASS]:
            pixels = (digits.images[index].astype(np.int64) * 255 // 16).astype(np.uint8)
            height, width = pixels.shape
            header = f"P5\n{width} {height}\n255\n".encode()
            (root / digit / f"{index:04}.pgm").write_bytes(header + pixels.tobytes())
    return root
