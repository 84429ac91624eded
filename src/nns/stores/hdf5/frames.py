"""Frames: the pieces of weights as a file holds them, each once, some of them as the difference to another."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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

HASH_AT_ONCE = 256 << 10
"""Decoded bytes that are hashed at once, while they are in the cache of the processor."""

KEPT_BASES = 64 << 20
"""Bytes of decoded bases that an open file keeps."""


def max_weights() -> int:
    """Return the bytes that the weights of one network may have."""
    return int(os.environ.get("NNS_MAX_WEIGHTS") or schema.MAX_WEIGHTS)


class _Bases:
    """The bases that were decoded last: the networks cut from one supernet are often read one after another."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, row: int, decode: Callable[[int], bytes]) -> bytes:
        with self._lock:
            if row in self._kept:
                self._kept.move_to_end(row)
                return self._kept[row]
        data = decode(row)  # outside the lock, so that threads decode at once; two may decode the same, which is right
        with self._lock:
            if row not in self._kept and len(data) <= KEPT_BASES:
                self._kept[row] = data
                self._bytes += len(data)
                while self._bytes > KEPT_BASES:
                    self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


class Frames:
    """The table of frames of one file."""

    def __init__(self, file: ZooFile) -> None:
        """Name the file; nothing is read yet."""
        self.file = file
        self._bases = _Bases()

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
        """Return the first and last stored byte of a frame."""
        start, stop = self.bounds[row : row + 2].tolist()
        return start, stop

    def decode(self, row: int) -> bytes:
        """Decode one frame; its sha256 is not checked.

        Raises:
            ZooError: If it is damaged.
        """
        codec, item, base = self._about(row)
        with self._damaged(row):
            return _frames.decode(codec, item, self._stored_bytes(row), int(self.length[row]), base)

    def _decode_into(self, row: int, out: memoryview) -> None:
        codec, item, base = self._about(row)
        with self._damaged(row):
            _frames.decode_into(out, codec, item, self._stored_bytes(row), base)

    def _about(self, row: int) -> tuple[int, int, bytes | None]:
        """Return codec, item and decoded base of a frame."""
        if not 0 <= row < len(self):
            raise ZooError(f"{self.file.path} is damaged: frame {row} does not exist; restore it from a copy")
        base, codec = int(self.base[row]), int(self.codec[row])
        full = base < 0 or (base < len(self) and int(self.codec[base]) in FULL)
        if base < -1 or (base >= 0) != (codec not in FULL) or not full:
            raise ZooError(f"{self.file.path} is damaged: frame {row} has the base {base}; restore it from a copy")
        return codec, int(self.item[row]), self._bases.get(base, self.decode) if base >= 0 else None

    def _stored_bytes(self, row: int) -> bytes:
        return self.file.read("frames/data", *self.stored(row))

    @contextmanager
    def _damaged(self, row: int) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ZooError(f"{self.file.path} is damaged: frame {row}: {error}; restore it from a copy") from error

    def checked(self, row: int) -> bytes:
        """Decode one frame and check its sha256."""
        data = self.decode(row)
        if hashlib.sha256(data).digest() != self.sha256[row].tobytes():
            raise ZooError(f"{self.file.path} is damaged: frame {row} (sha256); restore it from a copy")
        return data

    def join(self, rows: Sequence[int], length: int, what: str) -> tuple[bytes, bytes]:
        """Decode frames one after another; their lengths are checked before anything is allocated.

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
        joined = BytesIO()  # gives its buffer away as bytes without a copy
        joined.seek(max(total - 1, 0))
        joined.write(bytes(min(total, 1)))
        digest = hashlib.sha256()
        with joined.getbuffer() as view:
            done = hashed = 0
            for row in rows:
                size = int(self.length[row])
                self._decode_into(row, view[done : done + size])
                done += size
                if done - hashed >= HASH_AT_ONCE or done == total:
                    digest.update(view[hashed:done])
                    hashed = done
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
