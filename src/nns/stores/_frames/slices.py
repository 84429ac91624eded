"""Slices: tensors that are a corner of another tensor, as those of a subnet are of its supernet's."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import product
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

ITEMS = (1, 2, 4, 8)
"""Bytes that a number may have."""

MAX_DIMS = 16
MAX_KERNEL = 15
"""Largest kernel that is looked at for centre crops."""

Name = TypeVar("Name")


def find_slice(
    data: bytes | memoryview, shape: Sequence[int], item: int, base: bytes | memoryview, base_shape: Sequence[int]
) -> bytes | None:
    """Find a tensor as the leading corner of another, or so but for a centre crop of the last two dimensions.

    Args:
        data: The tensor, (product of shape) items in C order.
        shape: Its dimensions.
        item: Bytes of one number.
        base: The other tensor.
        base_shape: The dimensions of that.

    Returns:
        The stored bytes of a frame of codec SLICE, if it is one bit for bit; None if not, which is mostly seen
        from a few elements.
    """
    if item not in ITEMS or not 1 <= len(shape) == len(base_shape) <= MAX_DIMS:
        return None
    if len(data) != math.prod(shape) * item or len(base) != math.prod(base_shape) * item or not data:
        return None
    if max(base_shape) >= 1 << 32 or any(n > size for n, size in zip(shape, base_shape, strict=True)):
        return None
    wanted = as_array(data).view(f"<u{item}").reshape(shape)
    whole = as_array(base).view(f"<u{item}").reshape(base_shape)
    corner, crop = (0,) * len(shape), _crop(shape, base_shape)
    for starts in (corner, crop) if crop else (corner,):
        part = whole[tuple(slice(start, start + n) for start, n in zip(starts, shape, strict=True))]
        if _equal(wanted, part):
            dims = (*base_shape, *starts, *shape)
            return struct.pack(f"<BB{len(dims)}I", item, len(shape), *dims)
    return None


def _crop(shape: Sequence[int], base_shape: Sequence[int]) -> tuple[int, ...] | None:
    """Starts of a centre crop of the last two dimensions, or None if it would be no kernel or no crop."""
    if len(shape) < 3 or max(base_shape[-2:]) > MAX_KERNEL:
        return None
    spare = [size - n for n, size in zip(shape[-2:], base_shape[-2:], strict=True)]
    if not any(spare):
        return None
    return (*(0 for _ in shape[:-2]), *(n // 2 for n in spare))


def _equal(wanted: NDArray[Any], part: NDArray[Any]) -> bool:
    corners = product(*((0, n // 2, n - 1) for n in wanted.shape[:2]))
    rest = tuple(n // 2 for n in wanted.shape[2:])
    if any(wanted[(*corner, *rest)] != part[(*corner, *rest)] for corner in corners):
        return False
    return bool((wanted == part).all())


class SliceIndex(Generic[Name]):
    """Finds the tensors of which another may be a slice, by what they begin with and without their names."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, bytes], list[tuple[Name, tuple[int, ...], bytes]]] = {}

    def add(self, name: Name, shape: Sequence[int], item: int, data: bytes | memoryview) -> None:
        """Add a tensor of a base: (product of shape) items in C order, to be known by ``name``.

        A tensor that has no shape, or whose length is not that of its shape, can be no base and is passed over.
        """
        if not 1 <= len(shape) <= MAX_DIMS or item not in ITEMS or not data:
            return
        if len(data) != math.prod(shape) * item:
            return
        array = as_array(data).view(f"<u{item}").reshape(shape)
        kernel = len(shape) >= 3 and max(shape[-2:]) <= MAX_KERNEL
        for offset in product(*(range((n + 1) // 2) for n in shape[-2:])) if kernel else [()]:
            first = _first(array, offset)
            entries = self._found.setdefault((len(shape), item, first[:item]), [])
            if len(entries) < 256:
                entries.append((name, tuple(shape), first))

    def candidates(
        self, data: bytes | memoryview, shape: Sequence[int], item: int
    ) -> list[tuple[Name, tuple[int, ...]]]:
        """List names and shapes of the tensors to hand to :func:`find_slice`, each once, in the order added."""
        if not shape or not data or item not in ITEMS or len(data) != math.prod(shape) * item:
            return []
        first = _first(as_array(data).view(f"<u{item}").reshape(shape), ())
        found: dict[tuple[Name, tuple[int, ...]], None] = {}
        for name, base_shape, begin in self._found.get((len(shape), item, first[:item]), ()):
            if begin.startswith(first) and all(n <= size for n, size in zip(shape, base_shape, strict=True)):
                found[name, base_shape] = None
        return list(found)


def _first(array: NDArray[Any], offset: tuple[int, ...]) -> bytes:
    """Up to 16 elements along the first dimension, at ``offset`` in the last ones and 0 in those between."""
    between = (0,) * (array.ndim - 1 - len(offset))
    return b"".join(array[(row, *between, *offset)].tobytes() for row in range(min(16, len(array))))


def take(item: int, stored: bytes, out: Bytes, base: Bytes) -> None:
    """Copy the described corner of ``base`` into ``out``."""
    ndim = stored[1] if len(stored) > 1 else 0
    if not 1 <= ndim <= MAX_DIMS or len(stored) != 2 + 12 * ndim or stored[0] != item:
        raise ValueError("a slice whose description is damaged")
    numbers = struct.unpack_from(f"<{3 * ndim}I", stored, 2)
    dims, starts, counts = numbers[:ndim], numbers[ndim : 2 * ndim], numbers[2 * ndim :]
    inside = all(start + n <= size for size, start, n in zip(dims, starts, counts, strict=True))
    if not inside or math.prod(dims) * item != len(base) or math.prod(counts) * item != len(out) or not len(out):
        raise ValueError("a slice that does not fit its base")
    part = tuple(slice(start, start + n) for start, n in zip(starts, counts, strict=True))
    out.view(f"<u{item}").reshape(counts)[...] = base.view(f"<u{item}").reshape(dims)[part]


def as_array(data: bytes | memoryview) -> Bytes:
    """See bytes as an array."""
    return np.frombuffer(data, np.uint8)
