"""Writing columns: a file is made whole, each dataset contiguous, and streamed parts are copied in."""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores._digest import canonical_json
from nns.stores.hdf5 import schema
from nns.stores.hdf5.seal import CHECKSUM_BYTES, SEAL_BYTES, seal_of

BLOCK = 8 << 20
_NO_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


class Source(Protocol):
    """A file from which bytes are copied."""

    def opened(self) -> AbstractContextManager[int]:
        """Return a descriptor for reading at any position."""


@dataclass(frozen=True)
class FileRange:
    """``length`` bytes at ``offset`` of a file."""

    source: Source
    offset: int
    length: int


@dataclass(frozen=True)
class Pieces:
    """A column given as bytes and file ranges one after another, never held in memory as a whole.

    What is given as a memoryview is one of bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    parts: Sequence[bytes | memoryview | FileRange]


Column = NDArray[Any] | Pieces


def ragged(cells: Sequence[NDArray[Any]], dtype: str) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """Join rows of different length: values end to end, and n + 1 offsets into them."""
    values = np.concatenate([np.zeros(0, dtype), *(np.asarray(cell, dtype).reshape(-1) for cell in cells)])
    return values, offsets([np.asarray(cell).size for cell in cells])


def offsets(lengths: Sequence[int]) -> NDArray[np.uint64]:
    """Return the n + 1 offsets of n rows of these lengths."""
    result = np.zeros(len(lengths) + 1, "<u8")
    np.cumsum(np.array(lengths, "<u8"), out=result[1:])
    return result


def write_file(path: Path, columns: Mapping[str, Column], about: Mapping[str, Any]) -> None:
    """Write a new file with these columns (``"table/column"``), its header and its seal, and fsync it.

    Args:
        path: Where; there must be no file.
        columns: Arrays, or pieces to be copied.
        about: The header but for the digests of the columns and its own.

    Raises:
        OSError: If the file exists or cannot be written.
    """
    for name, column in columns.items():
        if isinstance(column, Pieces) and sum(map(_length, column.parts)) != _nbytes(column):
            raise ValueError(f"pieces of {name} do not fill {column.shape}")
    # with blank checksums of the real length: where things lie is fixed before the checksums are known
    blank = _header(about, {name: bytes(CHECKSUM_BYTES) for name in columns if name != schema.UNCHECKED})
    fixed: dict[str, Column] = {
        schema.HEADER: np.frombuffer(blank, "<u1"),
        schema.SEAL: np.zeros(SEAL_BYTES, "<u1"),
    }
    structure, offsets_of = _lay_out({**fixed, **columns})
    # O_EXCL: the name has a random part, so a file that is there is somebody's mistake, not to be written over
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.ftruncate(descriptor, structure.size)
        for at, page in structure.pages.items():
            _write_all(descriptor, page[: max(0, structure.size - at)], at)
        # data before the header, the header before the seal: each holds the checksum of what was written before it
        digests = {}
        for name, column in columns.items():
            digest = None if name == schema.UNCHECKED else xxhash.xxh3_128()
            parts = column.parts if isinstance(column, Pieces) else [as_view(column)]
            _write_pieces(descriptor, offsets_of.get(name, 0), parts, digest)
            if digest:
                digests[name] = digest.digest()
        _write_all(descriptor, _header(about, digests), offsets_of[schema.HEADER])
        at = offsets_of[schema.SEAL]
        # read back what was written, through the page cache: the seal is of the file, not of what was meant
        _write_all(descriptor, seal_of(descriptor, structure.size, at), at)
        os.fsync(descriptor)  # HDF5 issues none in any mode; the caller renames, and the name must not come first
    finally:
        os.close(descriptor)


class _Structure(io.RawIOBase):
    """Stands in for the file while HDF5 lays it out: keeps the few pages that HDF5 writes.

    HDF5 crashes the process when a write to a full disk fails, so it is never given a real file to write.
    """

    PAGE = 4096

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[int, bytearray] = {}
        self.size = 0
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (self.size if whence == os.SEEK_END else self._at if whence == os.SEEK_CUR else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        return self.size

    def _spans(self, length: int) -> Iterator[tuple[int, int, int]]:
        """Start of each page that the next bytes touch, and the first and last byte in it."""
        end = self._at + length
        while self._at < end:
            first = self._at % self.PAGE
            last = min(self.PAGE, first + end - self._at)
            yield self._at - first, first, last
            self._at += last - first

    def write(self, data: Any) -> int:
        view, done = memoryview(data).cast("B"), 0
        for page, first, last in self._spans(len(view)):
            kept = self.pages.setdefault(page, bytearray(self.PAGE))
            kept[first:last] = view[done : done + last - first]
            done += last - first
        self.size = max(self.size, self._at)
        return done

    def readinto(self, buffer: Any) -> int:
        view, done = memoryview(buffer).cast("B"), 0
        for page, first, last in self._spans(len(view)):
            kept = self.pages.get(page)
            view[done : done + last - first] = kept[first:last] if kept else bytes(last - first)
            done += last - first
        return done


def _lay_out(columns: Mapping[str, Column]) -> tuple[_Structure, dict[str, int]]:
    """Let HDF5 lay out a file, without the data; gives its own structures and the offset of each column."""
    import h5py

    structure = _Structure()
    found: dict[str, int] = {}
    with h5py.File(
        structure,
        "w",
        alignment_threshold=schema.ALIGNMENT_THRESHOLD,
        alignment_interval=schema.ALIGNMENT_INTERVAL,
    ) as file:
        for name, column in columns.items():
            group, _, leaf = name.rpartition("/")
            where = file.require_group(group).id if group else file.id
            dataset = _create(where, leaf, column)
            if _nbytes(column):
                found[name] = dataset.get_offset()
    ends = [offset + _nbytes(columns[name]) for name, offset in found.items()]
    structure.size = max(structure.size, *ends)
    return structure, found


def as_view(column: NDArray[Any]) -> memoryview:
    """See an array as its bytes."""
    return np.ascontiguousarray(column).reshape(-1).view(np.uint8).data


def _header(about: Mapping[str, Any], digests: Mapping[str, bytes]) -> bytes:
    version = schema.FORMAT_VERSION if schema.FINGERPRINTED in digests else about["version"]
    checksums = {name: digest.hex() for name, digest in digests.items() if name != schema.UNCHECKED}
    value = {**about, "version": version, "columns": checksums}
    return canonical_json({**value, "sha256": hashlib.sha256(canonical_json(value)).hexdigest()})


def _create(where: Any, leaf: str, column: Column) -> Any:
    import h5py

    space = h5py.h5s.create_simple(column.shape)
    return h5py.h5d.create(where, leaf.encode(), _type(np.dtype(column.dtype).str), space, _settings())


@lru_cache(maxsize=1)
def _settings() -> Any:
    import h5py

    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # or HDF5 would write zeros over all of it first
    settings.set_obj_track_times(False)  # the same content gives the same bytes, whenever it is written
    return settings


@lru_cache(maxsize=16)
def _type(dtype: str) -> Any:
    import h5py

    return h5py.h5t.py_create(np.dtype(dtype))


def _nbytes(column: Column) -> int:
    return math.prod(column.shape) * np.dtype(column.dtype).itemsize


def _length(part: bytes | memoryview | FileRange) -> int:
    return part.length if isinstance(part, FileRange) else len(part)


def _write_pieces(descriptor: int, offset: int, parts: Sequence[bytes | memoryview | FileRange], digest: Any) -> None:
    for part in parts:
        if not isinstance(part, FileRange):
            _write_all(descriptor, part, offset)
            if digest:
                digest.update(part)
        else:
            with part.source.opened() as source:
                # copied inside the kernel, where a file system can it shares the blocks; then read for the checksum:
                # still faster than through this process, as frames/data, which is most of a zoo, has none
                _copy(source, part.offset, descriptor, offset, part.length)
                for start in range(0, part.length if digest else 0, BLOCK):
                    digest.update(os.pread(source, min(BLOCK, part.length - start), part.offset + start))
        offset += _length(part)


def _write_all(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view[:BLOCK], offset)
        view, offset = view[done:], offset + done


def _copy(source: int, start: int, target: int, offset: int, length: int) -> None:
    """Copy between files inside the kernel where it can, else in blocks."""
    in_kernel = hasattr(os, "copy_file_range")
    while length:
        done = 0
        if in_kernel:
            try:
                done = os.copy_file_range(source, target, min(length, 1 << 30), start, offset)
            except OSError as error:
                if error.errno not in _NO_COPY:
                    raise
                in_kernel = False
        if not done:
            block = os.pread(source, min(length, BLOCK), start)
            if not block:  # never waits for more: a zoo file does not grow, so this one was cut by somebody else
                raise ZooError("a zoo file became shorter while it was read; it must not be changed in place")
            _write_all(target, block, offset)
            done = len(block)
        start, offset, length = start + done, offset + done, length - done
