"""Looking before reading: HDF5 only says where a column lies; its bytes are read by nns itself.

Nothing is listed, followed or converted. Each name is opened one component at a time and must be a hard link
to a plain dataset of exactly the type, rank and extent of the schema; attributes are counted, never read.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nns.errors import ZooError
from nns.stores._codec import NAME, count, mapping, parse_json, text, texts
from nns.stores._digest import canonical_json
from nns.stores.hdf5 import schema
from nns.stores.hdf5.seal import CHECKSUM_BYTES

SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Place:
    """Where a column lies in its file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """What ``/format`` says.

    Attributes:
        version: Version of the format.
        rows: Rows of each table.
        spaces: Names of the spaces.
        merged: Journal shards that are in this file, or were removed from the zoo.
        columns: XXH3-128 of each column.
    """

    version: int
    rows: Mapping[str, int]
    spaces: tuple[str, ...]
    merged: tuple[str, ...]
    columns: Mapping[str, bytes]


def open_regular(path: Path) -> tuple[int, os.stat_result]:
    """Open a regular file for reading, never a link, and check that it begins as HDF5.

    Raises:
        FileNotFoundError: If there is none.
        ZooError: If it is something else or cannot be read.
    """
    # no links: a zoo in a shared folder must not lead elsewhere. Not blocking: a named pipe would wait for a writer
    flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        if path.is_symlink():
            raise ZooError(f"{path} is a symbolic link; give the path of the file itself") from error
        raise ZooError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ZooError(f"{path} is not a regular file; give the path of a zoo file")
        if os.pread(descriptor, len(SIGNATURE), 0) != SIGNATURE:
            raise ZooError(f"{path} is not a zoo: no HDF5 file; give the path of a file that `nns zoo build` wrote")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def locate(path: Path, descriptor: int, size: int) -> tuple[Header, dict[str, Place]]:
    """Find every column of an open file and check it against the schema, reading no data but ``/format``.

    Args:
        path: For messages.
        descriptor: The open file.
        size: Its size in bytes.

    Raises:
        ZooError: If anything is not as the format says.
    """
    import h5py

    _no_plugins()
    try:
        # through the descriptor that was checked, not the path: between two opens the file may be another one.
        # locking=False: a file never changes once it has its name, so there is nothing to lock, and zoos on read-only
        # media can be read
        raw = io.FileIO(descriptor, "rb", closefd=False)
        with h5py.File(raw, "r", locking=False) as file:
            if h5py.h5o.get_info(file.id).num_attrs:
                raise ValueError("the root has attributes")
            places: dict[str, Place] = {}
            finder = _Finder(size, places)
            # the header first: it bounds what else is looked for
            place = finder.dataset(file.id, schema.HEADER, "<u1", ("header",), {})
            if place.nbytes > schema.MAX_HEADER:
                raise ValueError(f"/format has {place.nbytes} bytes")
            header = _header(path, os.pread(descriptor, place.nbytes, place.offset))
            for name, columns in schema.tables(header.version).items():
                finder.table(file.id, name, columns, header.rows[name])
            if header.spaces:
                group = finder.group(file.id, "spaces")
                for name in header.spaces:
                    finder.table(group, name, schema.SPACE, -1, "spaces/")
            _expect({*places} - {schema.UNCHECKED}, header)
            places[schema.SEAL] = finder.dataset(file.id, schema.SEAL, "<u1", ("32",), {"32": 32})
            places[schema.HEADER] = place
            return header, places
    except ZooError:
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, ValueError, TypeError and more
        reason = " ".join(str(error).split())[:160]
        raise ZooError(f"{path} is no valid zoo file, or damaged: {reason}; restore it from a copy") from error


@lru_cache(maxsize=1)
def _no_plugins() -> None:
    """Keep HDF5 from looking for filters in folders of the machine; a zoo uses none."""
    import h5py

    while h5py.h5pl.size():
        h5py.h5pl.remove(0)


def _expect(columns: set[str], header: Header) -> None:
    if columns != header.columns.keys():
        raise ValueError("/format does not give the checksum of each column")


def _header(path: Path, data: bytes) -> Header:
    value = mapping(parse_json(data, f"{path}: /format"))
    if value.get("format") != schema.FORMAT_NAME:
        raise ZooError(f"{path} is an HDF5 file but no zoo; give the path of a file that `nns zoo build` wrote")
    version, known = count(value["version"]), schema.FORMAT_VERSION
    if version > known:
        raise ZooError(f"{path} has zoo format version {version}, this nns reads up to {known}; upgrade nns")
    if not version:
        raise ZooError(f"{path} has zoo format version {version}, which never existed; restore it from a copy")
    read = f"{schema.PLAIN_VERSION} and {known}"
    if version < schema.PLAIN_VERSION:  # none but version 1 of 2026, which was never released
        raise ZooError(f"{path} has zoo format version {version}, this nns reads {read}; build the zoo anew")
    expected = hashlib.sha256(canonical_json({key: item for key, item in value.items() if key != "sha256"}))
    if value["sha256"] != expected.hexdigest():
        raise ValueError("/format does not have its sha256")
    spaces, merged = texts(value["spaces"]), texts(value["merged"])
    if len(set(spaces)) != len(spaces) or not all(NAME.fullmatch(name) for name in spaces):
        raise ValueError("names of spaces are not allowed")
    rows = {table: count(value[table]) for table in schema.TABLES}
    if max(rows.values()) > schema.MAX_ROWS:
        raise ValueError(f"{max(rows.values())} rows")
    columns = {name: _checksum(item) for name, item in mapping(value["columns"]).items()}
    return Header(version, rows, spaces, merged, columns)


def _checksum(value: object) -> bytes:
    if len(checksum := bytes.fromhex(text(value))) != CHECKSUM_BYTES:
        raise ValueError(f"a checksum has {CHECKSUM_BYTES} bytes")
    return checksum


class _Finder:
    """Opens names one by one and notes where their data lies."""

    def __init__(self, size: int, places: dict[str, Place]) -> None:
        self._size = size
        self._places = places

    def table(self, parent: Any, name: str, columns: schema.Table, n: int, at: str = "") -> None:
        if n == 0:
            return
        group = self.group(parent, name)
        bound = {"32": 32} if n < 0 else {"32": 32, "n": n, "n+1": n + 1}
        if name == "networks" and schema.FINGERPRINTED.rpartition("/")[2] not in columns:
            bound["k"] = n  # each has a fingerprint
        for column, (dtype, shape) in columns.items():
            self._places[f"{at}{name}/{column}"] = self.dataset(group, column, dtype, shape, bound)

    def group(self, parent: Any, name: str) -> Any:
        import h5py

        found = self._open(parent, name)
        if not isinstance(found, h5py.h5g.GroupID):
            raise TypeError(f"{name} is not a group")
        return found

    def dataset(self, parent: Any, name: str, dtype: str, shape: schema.Shape, bound: dict[str, int]) -> Place:
        import h5py

        found = self._open(parent, name)
        if not isinstance(found, h5py.h5d.DatasetID):
            raise TypeError(f"{name} is not a dataset")
        settings = found.get_create_plist()
        if settings.get_layout() != h5py.h5d.CONTIGUOUS or settings.get_nfilters() or settings.get_external_count():
            raise ValueError(f"{name} is not contiguous inside the file")
        if not _same_type(found.get_type(), dtype):
            raise ValueError(f"{name} is not of type {dtype}")
        space = found.get_space()
        extent = tuple(space.get_simple_extent_dims()) if space.get_simple_extent_type() == h5py.h5s.SIMPLE else None
        if extent is None or len(extent) != len(shape):
            raise ValueError(f"{name} has shape {extent}")
        for side, letter in zip(extent, shape, strict=True):
            if bound.setdefault(letter, side) != side:
                raise ValueError(f"{name} has shape {extent}, which does not fit the other columns")
        nbytes = np.dtype(dtype).itemsize
        for side in extent:
            nbytes *= side
        offset = found.get_offset() if nbytes else 0
        # offset and size are what a stranger wrote: beyond the end of the file a map would kill the process (SIGBUS)
        if offset is None or found.get_storage_size() != nbytes or not 0 <= offset <= self._size - nbytes:
            raise ValueError(f"{name} does not lie inside the file")
        return Place(dtype, extent, offset, nbytes)

    def _open(self, parent: Any, name: str) -> Any:
        import h5py

        key = name.encode()
        try:
            link = parent.links.get_info(key)
        except KeyError as error:
            raise ValueError(f"{name} is missing") from error
        if link.type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name} is a link to elsewhere")
        found = h5py.h5o.open(parent, key)
        info = h5py.h5o.get_info(found)
        # rc: a second name would let one stretch of bytes be read as two columns, or a group hold itself. Attributes
        # are counted, never read: of 13,000 mutated files each crash or hang of HDF5 that was looked into came from
        # reading one
        if info.num_attrs or info.rc != 1:
            raise ValueError(f"{name} has attributes or several names")
        return found


def _same_type(found: Any, dtype: str) -> bool:
    import h5py

    if dtype[0] == "S":
        return bool(
            found.get_class() == h5py.h5t.STRING
            and not found.is_variable_str()
            and found.get_size() == np.dtype(dtype).itemsize
        )
    return bool(found.equal(_number_type(dtype)))


@lru_cache(maxsize=16)
def _number_type(dtype: str) -> Any:
    import h5py

    return h5py.h5t.py_create(np.dtype(dtype))
