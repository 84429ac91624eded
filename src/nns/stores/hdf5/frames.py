"""Frames: the pieces of weights as a file holds them, each once, some of them as the difference to another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores import _frames
from nns.stores.hdf5 import schema
from nns.stores.hdf5.file import ZooFile

FULL = (_frames.RAW, _frames.ZSTD)
"""Codecs that need no base. Bases are of these, so no chain is longer than one."""

HASH_AT_ONCE = 1 << 20
"""Decoded bytes that are hashed while the next are decoded."""


def max_weights() -> int:
    """Give the bytes that the weights of one network may have."""
    return int(os.environ.get("NNS_MAX_WEIGHTS") or schema.MAX_WEIGHTS)


class Frames:
    """The table of frames of one file."""

    def __init__(self, file: ZooFile) -> None:
        """Name the file; nothing is read yet."""
        self.file = file

    def __len__(self) -> int:
        """Count the frames."""
        return self.file.header.rows["frames"]

    @cached_property
    def sha256(self) -> NDArray[np.uint8]:
        """Digests of the decoded bytes, (n, 32)."""
        return self.file.array("frames/sha256")

    @cached_property
    def length(self) -> NDArray[np.uint64]:
        """Decoded bytes, (n,)."""
        return self.file.array("frames/length")

    @cached_property
    def codec(self) -> NDArray[np.uint8]:
        """Codecs, (n,)."""
        return self.file.array("frames/codec")

    @cached_property
    def item(self) -> NDArray[np.uint8]:
        """Bytes of one value, (n,)."""
        return self.file.array("frames/item")

    @cached_property
    def base(self) -> NDArray[np.int64]:
        """Row of the base, -1 for none, (n,)."""
        return self.file.array("frames/base")

    @cached_property
    def bounds(self) -> NDArray[np.uint64]:
        """Offsets of the stored bytes, (n + 1,)."""
        return self.file.bounds("frames/data")

    def stored(self, row: int) -> tuple[int, int]:
        """Give the first and last stored byte of a frame."""
        start, stop = self.bounds[row : row + 2].tolist()
        return start, stop

    def decode(self, row: int) -> bytes:
        """Decode one frame; its sha256 is not checked.

        Raises:
            ZooError: If it is damaged.
        """
        if not 0 <= row < len(self):
            raise ZooError(f"{self.file.path} is damaged: frame {row} does not exist; restore it from a copy")
        base, codec = int(self.base[row]), int(self.codec[row])
        if base < -1 or (base >= 0) != (codec not in FULL) or base >= len(self) or not self._is_full(base):
            raise ZooError(f"{self.file.path} is damaged: frame {row} has the base {base}; restore it from a copy")
        try:
            return _frames.decode(
                codec,
                int(self.item[row]),
                self.file.read("frames/data", *self.stored(row)),
                int(self.length[row]),
                self.decode(base) if base >= 0 else None,
            )
        except ValueError as error:
            raise ZooError(f"{self.file.path} is damaged: frame {row}: {error}; restore it from a copy") from error

    def _is_full(self, base: int) -> bool:
        return base < 0 or bool(np.isin(self.codec[base], FULL))

    def checked(self, row: int) -> bytes:
        """Decode one frame and check its sha256."""
        data = self.decode(row)
        if hashlib.sha256(data).digest() != self.sha256[row].tobytes():
            raise ZooError(f"{self.file.path} is damaged: frame {row} (sha256); restore it from a copy")
        return data

    def join(self, rows: Sequence[int], length: int, what: str) -> tuple[bytes, bytes]:
        """Decode frames one after another; their lengths are checked before anything is allocated.

        Decoding and hashing run side by side; more threads decode no faster.

        Returns:
            The bytes and their sha256.

        Raises:
            ZooError: If they do not add up to ``length`` bytes, or are damaged.
        """
        if any(row >= len(self) for row in rows):
            raise ZooError(f"{self.file.path} is damaged: {what} have frames that do not exist; restore it from a copy")
        total = sum(self.length[np.array(rows, np.int64)].tolist()) if rows else 0
        if total != length:
            raise ZooError(f"{self.file.path} is damaged: {what} have {total} bytes, not {length}; restore it")
        if not rows:
            return b"", hashlib.sha256().digest()
        work = total + self._bytes_of_bases(rows)
        if work > max_weights():
            raise ZooError(
                f"{self.file.path}: {what} have {work} bytes with what they are stored as differences to, "
                f"more than {max_weights()}; set NNS_MAX_WEIGHTS to read them all the same"
            )
        if len(rows) == 1:
            data = self.decode(rows[0])
            return data, hashlib.sha256(data).digest()
        joined = BytesIO()  # gives its buffer away as bytes without a copy
        joined.seek(max(total - 1, 0))
        joined.write(bytes(min(total, 1)))
        digest = hashlib.sha256()
        with joined.getbuffer() as view, ThreadPoolExecutor(1) as hasher:
            done = hashed = 0
            waiting: list[Future[None]] = []
            for row in rows:
                part = self.decode(row)
                view[done : done + len(part)] = part
                done += len(part)
                if done - hashed >= HASH_AT_ONCE or done == total:
                    waiting.append(hasher.submit(digest.update, view[hashed:done]))
                    hashed = done
            for each in waiting:
                each.result()
            waiting.clear()
        return joined.getvalue(), digest.digest()

    def _bytes_of_bases(self, rows: Sequence[int]) -> int:
        bases = self.base[np.array(rows, np.int64)]
        found = bases[(bases >= 0) & (bases < len(self))]
        return sum(self.length[found].tolist())

    def by_codec(self) -> dict[str, tuple[int, int, int]]:
        """Count frames, decoded and stored bytes by name of the codec."""
        found: dict[str, tuple[int, int, int]] = {}
        if not len(self):
            return found
        stored: NDArray[Any] = np.diff(self.bounds)
        for codec in np.unique(self.codec).tolist():
            rows = self.codec == codec
            name = _frames.NAMES.get(codec, f"codec {codec}")
            found[name] = int(rows.sum()), int(self.length[rows].sum()), int(stored[rows].sum())
        return found
