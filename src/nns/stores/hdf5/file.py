"""One open zoo file: its columns as arrays, bytes or ranges to copy."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores._codec import parse_json
from nns.stores._records import MAX_META
from nns.stores.hdf5 import schema
from nns.stores.hdf5.checks import Place, locate, open_regular
from nns.stores.hdf5.columns import FileRange
from nns.stores.hdf5.ids import Ids, proper_ids
from nns.stores.hdf5.seal import SEAL_BYTES, seal_of

# a map is paid for in page faults, and pins the file; what is smaller is read at once and kept
MAP_FROM = 1 << 20
"""Columns of at least this many bytes are mapped, not copied."""

LAZY = ("data", "tensors", "embeddings")
"""Columns of a shard that stay on disk; its others are read when it is opened."""

ROWS_AT_ONCE = 16_384
"""Rows of JSON that are parsed together."""

UNBOUNDED = ("frames/data", "networks/frames", "supernets/frames")
"""Ragged columns whose rows have limits of their own."""


def file_key(status: os.stat_result) -> tuple[int, ...]:
    """Tell files apart, also those that got the inode number of one that is gone."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class ZooFile:
    """A file whose columns are known and checked; HDF5 itself is closed again.

    With ``stays_open`` the descriptor stays open while the object lives, so a file that is replaced meanwhile stays
    readable. Without (shards, of which there may be thousands) the file is closed and opened again for what
    was left on disk; that raises FileNotFoundError once the shard has been merged.

    Raises:
        FileNotFoundError: If there is no such file.
        ZooError: If it is no zoo file of this version.
    """

    def __init__(self, path: Path, stays_open: bool = True) -> None:
        """Open ``path`` and find its columns, which must be those of the schema."""
        self.path = path
        self.stays_open = stays_open
        self._loaded: dict[str, bytes] = {}
        self._checked: set[str] = set()
        self._descriptor, status = open_regular(path)
        self._size = status.st_size
        self.key = file_key(status)
        try:
            self.header, self._places = locate(path, self._descriptor, status.st_size)
            # read now what a listing needs: the shard may be merged and gone when somebody asks for it
            if not stays_open:
                for name in self._places:
                    if name.rpartition("/")[2] not in LAZY:
                        self.whole(name)
        except BaseException:
            self.close()
            raise
        if not stays_open:
            self.close()

    def close(self) -> None:
        """Close the descriptor; mapped arrays stay valid."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        """Close the descriptor of an object that nobody uses."""
        if hasattr(self, "_descriptor"):
            self.close()

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Return a descriptor for reading at any position."""
        if self._descriptor >= 0:
            yield self._descriptor
            return
        descriptor, status = open_regular(self.path)
        try:
            # a name may come again for another record after a removal; offsets of the first would read nonsense
            if file_key(status) != self.key:
                raise FileNotFoundError(self.path)
            yield descriptor
        finally:
            os.close(descriptor)

    @cached_property
    def _map(self) -> mmap.mmap:
        with self.opened() as descriptor:
            return mmap.mmap(descriptor, self._size, access=mmap.ACCESS_READ)

    def columns(self) -> tuple[str, ...]:
        """List the columns as ``table/column``."""
        return tuple(self._places)

    def nbytes(self, column: str) -> int:
        """Count the bytes of a column."""
        return self._places[column].nbytes if column in self._places else 0

    def whole(self, column: str) -> memoryview:
        """Read a column, check it against its checksum the first time, and keep it if it is small.

        Raises:
            ZooError: If it is damaged.
        """
        place = self._places[column]
        if column in self._loaded:
            return memoryview(self._loaded[column])
        if self.stays_open and place.nbytes >= MAP_FROM:
            data = memoryview(self._map)[place.offset : place.offset + place.nbytes]
        else:
            data = memoryview(self._pread(column, place.offset, place.nbytes))
        # XXH3 of the 12 MB of descriptions of 14,000 networks takes 1 ms, sha256 took 10 of the 31 ms of opening them
        expected = self.header.columns.get(column)
        if expected is not None and column not in self._checked:
            if xxhash.xxh3_128_digest(data) != expected:
                raise ZooError(f"{self.path} is damaged: {column} (checksum); restore it from a copy")
            self._checked.add(column)
        if place.nbytes < MAP_FROM and column.rpartition("/")[2] not in LAZY:
            self._loaded[column] = bytes(data)
        return data

    def array(self, column: str) -> NDArray[Any]:
        """Read a column; a large one is a view of the file. Either is read-only."""
        place = self._places[column]
        dtype = np.dtype(place.dtype)
        data: memoryview | bytes = self.whole(column)
        if place.offset % dtype.itemsize:  # HDF5 aligns only columns of 64 KiB or more; NumPy wants it for speed
            data = bytes(data)
        return np.frombuffer(data, dtype).reshape(place.shape)

    def _place(self, column: str, start: int, stop: int) -> Place:
        place = self._places[column]
        if not 0 <= start <= stop <= place.nbytes:
            raise ZooError(f"{self.path} is damaged: {column} has no bytes {start} to {stop}; restore it from a copy")
        return place

    def part(self, column: str, start: int, stop: int) -> bytes | FileRange:
        """Name bytes ``start`` to ``stop`` of a column, for copying."""
        if column in self._loaded:
            return self.read(column, start, stop)
        return FileRange(self, self._place(column, start, stop).offset + start, stop - start)

    def read(self, column: str, start: int, stop: int) -> bytes:
        """Read bytes ``start`` to ``stop`` of a column."""
        offset = self._place(column, start, stop).offset + start
        if column in self._loaded:
            return self._loaded[column][start:stop]
        if column in self.header.columns:
            return bytes(self.whole(column)[start:stop])
        return self._pread(column, offset, stop - start)

    def _pread(self, column: str, offset: int, left: int) -> bytes:
        parts: list[bytes] = []
        with self.opened() as descriptor:
            while left:  # Linux reads at most 2 GiB at once
                part = os.pread(descriptor, left, offset)
                if not part:
                    raise ZooError(f"{self.path} is damaged: it ends inside {column}; restore it from a copy")
                parts.append(part)
                offset, left = offset + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def sealed(self) -> bool:
        """Return whether every byte of the file is as it was written."""
        with self.opened() as descriptor:
            at = self._places[schema.SEAL].offset
            return self._pread(schema.SEAL, at, SEAL_BYTES) == seal_of(descriptor, self._size, at)

    def bounds(self, column: str) -> NDArray[np.uint64]:
        """Read the offsets of a ragged column: from 0 to its length, never falling."""
        found = self.array(f"{column}_offset")
        if found[0] != 0 or found[-1] != self._places[column].shape[0] or (found[1:] < found[:-1]).any():
            raise ZooError(f"{self.path} is damaged: offsets of {column} are out of order; restore it from a copy")
        size = np.dtype(self._places[column].dtype).itemsize
        if column not in UNBOUNDED and int(np.diff(found).max(initial=0)) * size > schema.MAX_PART:
            raise ZooError(
                f"{self.path}: a row of {column} has more than {schema.MAX_PART} bytes; nns writes none such"
            )
        return found

    def small(self, column: str, most: int = schema.MAX_PART) -> bytes:
        """Read a column of at most ``most`` bytes.

        Raises:
            ZooError: If it is larger, or damaged.
        """
        if self.nbytes(column) > most:
            raise ZooError(f"{self.path}: {column} has more than {most} bytes; nns writes none such")
        return bytes(self.whole(column))

    def ids(self, column: str) -> NDArray[np.bytes_]:
        """Read a column of ids, S64; each is checked to be one."""
        found = self.array(column)
        if not proper_ids(found):
            raise ZooError(f"{self.path} is damaged: {column} holds no proper ids; restore it from a copy")
        return found

    def names(self, column: str) -> Ids:
        """Read a column of ids as strings."""
        return Ids(self.ids(column))

    def rows(self, table: str) -> Iterator[Any]:
        """Parse the JSON of all rows of a table, many at once; each row ends in a newline."""
        column = f"{table}/meta"
        bounds = self.bounds(column)
        if np.diff(bounds).max(initial=0) > MAX_META + 1:
            raise ZooError(f"{self.path}: a row of {column} has more than {MAX_META} bytes; restore it from a copy")
        edges = [*range(0, len(bounds) - 1, ROWS_AT_ONCE), len(bounds) - 1]
        for start, stop in pairwise(edges):
            first, last = int(bounds[start]), int(bounds[stop])
            if last - first > schema.MAX_JSON:
                raise ZooError(
                    f"{self.path}: rows of {column} have more than {schema.MAX_JSON} bytes; nns writes none such"
                )
            data = self.read(column, first, last)
            found = parse_json(b"[" + data[:-1].replace(b"\n", b",") + b"]", f"{self.path}: {column}")
            if len(found) != stop - start:
                raise ZooError(f"{self.path} is damaged: {column} has other rows; restore it from a copy")
            yield from found
