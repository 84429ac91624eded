"""Which images stand for a dataset: a seeded sample by class that does not depend on names or order.

An image is drawn by the hash of seed and content, so the same images are drawn wherever the folder lies
and whatever its files are called; leaving out one image changes only its own place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from nns.data.reading import UNREADABLE


def draw_key(seed: int, content: str) -> bytes:
    """Rank of something with this content under this seed: the smallest is drawn first."""
    return hashlib.sha256(f"{seed}\n{content}".encode()).digest()


def sample_by_class(
    labels: Sequence[int],
    contents: Sequence[str],
    class_names: Sequence[str],
    pool: Sequence[int],
    *,
    per_class: int,
    limit: int,
    seed: int,
    exclude: Collection[int] = (),
) -> NDArray[np.int64]:
    """Draw up to ``per_class`` distinct images of each class, ``limit`` in all.

    Where ``limit`` is the tighter one, every class gives its first image before any gives its second.

    Args:
        labels: Class index of each image, -1 where unlabelled: those are one class of up to ``limit``.
        contents: Content digest of each image.
        class_names: Names by class index.
        pool: Indices that may be drawn.
        per_class: Images of one class at most.
        limit: Images at most.
        seed: Another seed draws other images.
        exclude: Indices that must not be drawn (unreadable ones, so that others replace them).

    Returns:
        (n,) int64 indices, by class, in the order they were drawn within it.
    """
    left_out = set(exclude)
    drawn: dict[int, dict[str, int]] = {}
    for index in pool:
        if index not in left_out and contents[index] != UNREADABLE:
            drawn.setdefault(labels[index], {}).setdefault(contents[index], index)

    turns: list[tuple[int, bytes, int, int]] = []
    for label, images in drawn.items():
        class_key = draw_key(seed, class_names[label]) if label >= 0 else b""
        ordered = sorted(images, key=lambda content: draw_key(seed, content))
        wanted = per_class if label >= 0 else limit
        turns += [(turn, class_key, label, images[content]) for turn, content in enumerate(ordered[:wanted])]
    kept = sorted(turns)[:limit]
    return np.array([index for _, _, label, index in sorted(kept, key=lambda t: (t[2], t[0]))], dtype=np.int64)
