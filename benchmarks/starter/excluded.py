"""What must not be learned from: the tasks that measure, their sources' other tasks, and twins of their pictures."""

from __future__ import annotations

import csv
import hashlib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BENCHMARKS = Path(__file__).resolve().parents[1]

KIN = (
    "emoji-facebook-*",
    "fontstyle-family-japanese",
    "fontstyle-family-thai",
    "glyphs-georgian-*",
    "glyphs-han-*",
    "glyphs-hangul-*",
    "glyphs-khmer-*",
    "glyphs-thai-*",
    "icons-oxygen*",
    "icons-papirus-*",
    "icons-folder-*",
    "photos-animal-mnist*",
)
"""Tasks of the vendors, scripts, themes and collections that the twelve tasks of benchmarks/finetune come from."""

COARSE, FINE = 8, 32
"""Sides of the thumbnails that twins are looked for with, first and second look."""
COARSE_LIMIT, FINE_LIMIT = 3.0, 7.0
"""Root mean square differences in grey levels up to which two thumbnails show one picture, resized or not."""


def measuring_tasks() -> set[str]:
    """Name the twelve tasks of the benchmark of fine-tuning and the datasets of the matrix."""
    twelve = (BENCHMARKS / "finetune/tasks.txt").read_text(encoding="utf-8").split()
    with (BENCHMARKS / "matrix/tasks.csv").open(encoding="utf-8") as lines:
        return {*twelve, *(row["task"] for row in csv.DictReader(lines))}


def is_held(task: str) -> bool:
    """Tell whether a task of the bank is left out as a whole."""
    return task in measuring_tasks() or any(fnmatch(task, pattern) for pattern in KIN)


def digests(images: NDArray[np.uint8]) -> list[bytes]:
    """Compute the sha256 of each picture's pixels, (n, size, size, 3)."""
    return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images]


def thumbnails(images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Average blocks of pixels: (n, size, size, 3) to (n, side * side * 3)."""
    n, size = images.shape[:2]
    step = size // side
    blocks = images.reshape(n, side, step, side, step, 3)
    return blocks.mean((2, 4), dtype=np.float32).reshape(n, -1)


class Twins:
    """Finds pictures that are, but for their size, one of those that must not be learned from.

    A digest finds the same pixels; an emoji of 64 px that another task shows at 32 px is found by thumbnails.

    Args:
        held: (n, 64, 64, 3) the pictures to avoid.
    """

    def __init__(self, held: NDArray[np.uint8]) -> None:
        """Compute digests and thumbnails."""
        self.digests = set(digests(held))
        self._coarse, self._fine = thumbnails(held, COARSE), thumbnails(held, FINE).astype(np.float16)
        self._norms = (self._coarse**2).sum(1)

    def find(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Mark those of (n, 64, 64, 3) pictures that are to be left out, (n,)."""
        found = np.array([digest in self.digests for digest in digests(images)], dtype=bool)
        coarse, fine = thumbnails(images, COARSE), thumbnails(images, FINE)
        limit = COARSE_LIMIT**2 * coarse.shape[1]
        for start in range(0, len(images), 512):
            part = coarse[start : start + 512]
            distances = (part**2).sum(1)[:, None] + self._norms - 2 * part @ self._coarse.T
            for row, other in zip(*np.nonzero(distances < limit), strict=True):
                if not found[start + row]:
                    difference = fine[start + row] - self._fine[other].astype(np.float32)
                    found[start + row] = np.sqrt((difference**2).mean()) < FINE_LIMIT
        return found
