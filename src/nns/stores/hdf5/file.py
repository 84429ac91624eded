"""One open zoo file: its columns as arrays, bytes or ranges to copy."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores._codec import parse_json
from nns.stores._records import MAX_META, NAMES
from nns.stores.hdf5 import schema
from nns.stores.hdf5.checks import Place, locate, open_regular
from nns.stores.hdf5.columns import FileRange

MAP_FROM = 1 << 20
"""Columns of at least this many bytes are mapped, not copied."""

LAZY = ("weights", "tensors", "embeddings")
"""Columns of a shard that stay on disk; its others are read when it is opened."""


class ZooFile:
    """A file whose columns are known and checked; HDF5 itself is closed again.

    With ``keep`` the descriptor stays open while the object lives, so a file that is replaced meanwhile stays
    readable. Without (shards, of which there may be thousands) the file is closed and opened again for what
    was left on disk; that raises FileNotFoundError once the shard has been merged.

    Raises:
        FileNotFoundError: If there is no such file.
        ZooError: If it is no zoo file of this version.
    """

    def __init__(self, path: Path, keep: bool = True) -> None:
        """Open ``path`` and find its columns."""
        self.path = path
        self._keep = keep
        self._loaded: dict[str, bytes] = {}
        self._descriptor, status = open_regular(path)
        self._size = status.st_size
        self.key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        try:
            self.header, self._places = locate(path, self._descriptor, status.st_size)
            if not keep:
                small = [name for name in self._places if name.rpartition("/")[2] not in LAZY]
                self._loaded = {name: self.read(name, 0, self.nbytes(name)) for name in small}
        except BaseException:
            self.close()
            raise
        if not keep:
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
        """Give a descriptor for reading at any position."""
        if self._descriptor >= 0:
            yield self._descriptor
            return
        descriptor, status = open_regular(self.path)
        try:
            if (status.st_dev, status.st_ino) != self.key[:2]:
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

    def array(self, column: str) -> NDArray[Any]:
        """Read a column; a large one is a view of the file. Either is read-only."""
        place = self._places[column]
        dtype = np.dtype(place.dtype)
        if not self._keep or place.nbytes < MAP_FROM or place.offset % dtype.itemsize:
            return np.frombuffer(self.read(column, 0, place.nbytes), dtype).reshape(place.shape)
        flat = np.frombuffer(self._map, dtype, place.nbytes // dtype.itemsize, place.offset)
        return flat.reshape(place.shape)

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
        offset, left = self._place(column, start, stop).offset + start, stop - start
        if column in self._loaded:
            return self._loaded[column][start:stop]
        parts: list[bytes] = []
        with self.opened() as descriptor:
            while left:
                part = os.pread(descriptor, left, offset)
                if not part:
                    raise ZooError(f"{self.path} is damaged: it ends inside {column}; restore it from a copy")
                parts.append(part)
                offset, left = offset + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def bounds(self, column: str) -> NDArray[np.uint64]:
        """Read the offsets of a ragged column: from 0 to its length, never falling."""
        found = self.array(f"{column}_offset")
        if found[0] != 0 or found[-1] != self._places[column].shape[0] or (found[1:] < found[:-1]).any():
            raise ZooError(f"{self.path} is damaged: offsets of {column} are out of order; restore it from a copy")
        return found

    def names(self, column: str) -> tuple[str, ...]:
        """Read a column of ids."""
        joined = b"".join(name + b"\n" for name in self.array(column).tolist()).decode("ascii", "replace")
        if not NAMES.fullmatch(joined):
            raise ZooError(f"{self.path} is damaged: {column} holds no proper ids; restore it from a copy")
        return tuple(joined.split("\n")[:-1])

    def rows(self, table: str) -> list[Any]:
        """Parse the JSON of all rows of a table at once; each row ends in a newline."""
        column = f"{table}/meta"
        if self.nbytes(column) > schema.MAX_JSON:
            raise ZooError(f"{self.path}: {column} has more than {schema.MAX_JSON} bytes; it is no file of this nns")
        data, bounds = self.read(column, 0, self.nbytes(column)), self.bounds(column)
        if np.diff(bounds).max(initial=0) > MAX_META + 1:
            raise ZooError(f"{self.path}: a row of {column} has more than {MAX_META} bytes; restore it from a copy")
        what = f"{self.path}: {column}"
        if hashlib.sha256(data).digest() != self.array(f"{column}_sha256").tobytes():
            raise ZooError(f"{self.path} is damaged: {column} (sha256); restore it from a copy")
        found = parse_json(b"[" + data[:-1].replace(b"\n", b",") + b"]", what)
        if len(found) != len(bounds) - 1:
            raise ZooError(f"{self.path} is damaged: {column} has {len(found)} rows; restore it from a copy")
        return list(found)
