"""Columns of ids: checked, searched and sorted as the fixed-width bytes that they are, without a Python string each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from nns.stores._codec import NAME

ID_BYTES = 64

_BAD, _END, _INNER, _FIRST = range(4)
_KINDS = bytearray(256)  # what each byte may be in an id: the same as NAME says, for 14,000 ids in a millisecond
_KINDS[0] = _END
for _letter in b"._-":
    _KINDS[_letter] = _INNER
for _letter in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
    _KINDS[_letter] = _FIRST


def proper_ids(column: NDArray[np.bytes_]) -> bool:
    """Return whether every row is a name as :data:`NAME` has it, padded with zero bytes alone."""
    if not len(column):
        return True
    words = np.frombuffer(column.tobytes(), "<u8").reshape(len(column), ID_BYTES // 8)
    # most ids have 16 digits: what is zero in every row needs no look at each byte, which is six times as fast
    used = 1 + int(np.flatnonzero(words.any(axis=0)).max(initial=0))
    kinds = np.frombuffer(words[:, :used].tobytes().translate(_KINDS), np.uint8).reshape(len(column), 8 * used)
    # after the first zero byte only zero bytes may follow: numpy compares S64 up to trailing zeros, so "a\0b" would
    # be an id that no string names
    after_end = (kinds[:, :-1] == _END) & (kinds[:, 1:] != _END)
    return bool((kinds[:, 0] == _FIRST).all() and kinds.min() > _BAD and not after_end.any())


def texts_of(column: NDArray[np.bytes_]) -> tuple[str, ...]:
    """Return proper ids as strings."""
    joined: bytes = b"\n".join(column.tolist())  # one decode in place of one a row
    return tuple(joined.decode("ascii").split("\n")) if len(column) else ()


def is_ascending(ids: NDArray[np.bytes_]) -> bool:
    """Return whether each id is greater than the one before, so that none occurs twice."""
    return bool((ids[1:] > ids[:-1]).all())


def position(ids: NDArray[np.bytes_], name: str, order: NDArray[np.intp] | None = None) -> int | None:
    """Find a name among ids that are sorted, or that ``order`` sorts; None if it is not there."""
    if not NAME.fullmatch(name):  # longer than 64 bytes it would be cut, and found as another
        return None
    wanted = np.array(name.encode("ascii"), ids.dtype)
    at = int(np.searchsorted(ids, wanted, sorter=order))
    if at == len(ids):
        return None
    row = at if order is None else int(order[at])
    return row if ids[row] == wanted else None


class Ids(Sequence[str]):
    """A column of proper ids as a sequence of strings, of which none is made before it is asked for.

    Attributes:
        keys: The column, S64.
    """

    def __init__(self, keys: NDArray[np.bytes_]) -> None:
        self.keys = keys

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return texts_of(self.keys)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return texts_of(self.keys[at])
        return bytes(self.keys[at]).decode("ascii")

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Ids):
            return same_ids(self.keys, other.keys)
        return isinstance(other, Sequence) and len(self) == len(other) and self._texts == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ids({list(self[:3])}{' …' if len(self) > 3 else ''}, {len(self)} in all)"


def same_ids(a: NDArray[np.bytes_], b: NDArray[np.bytes_]) -> bool:
    """Return whether two columns are equal: as words, which is ten times as fast as by strings."""
    if a.dtype != b.dtype or a.itemsize % 8 or not (a.flags.c_contiguous and b.flags.c_contiguous):
        return bool(np.array_equal(a, b))
    return a.shape == b.shape and bool(np.array_equal(a.view(np.uint64), b.view(np.uint64)))


def rows_of(keys: NDArray[np.bytes_], wanted: Sequence[str]) -> NDArray[np.int64]:
    """Return the row of each of some ids among ascending ones, -1 for those that are not there."""
    names = np.array([name.encode("ascii", "replace") for name in wanted], keys.dtype)
    at = np.searchsorted(keys, names)
    found = at < len(keys)
    found[found] = keys[at[found]] == names[found]
    # what is longer than an id was cut above, and must not be found as another
    found &= np.array([len(name) <= ID_BYTES for name in wanted], np.bool_)
    return np.where(found, at, -1).astype(np.int64)
