"""The networks of one zoo file: entries parsed once, weights left where they are."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores._codec import decode_entry, parse_json
from nns.stores.hdf5.file import ZooFile
from nns.types import Fingerprint, NetworkEntry


@contextmanager
def _without_gc() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Networks:
    """The networks of one file."""

    def __init__(self, file: ZooFile) -> None:
        """Read the ids."""
        self.file = file
        self.ids = file.names("networks/id") if file.header.networks else ()
        self.index = {network_id: row for row, network_id in enumerate(self.ids)}
        if len(self.index) != len(self.ids):
            raise ZooError(f"{file.path} is damaged: an id occurs twice; restore it from a copy")

    @cached_property
    def entries(self) -> list[NetworkEntry]:
        """All entries, in the order of ``ids``."""
        if not self.ids:
            return []
        with _without_gc():  # nothing here makes cycles, and looking for them would take half the time
            return [self._entry(row, value) for row, value in enumerate(self.file.rows("networks"))]

    def entry(self, row: int) -> NetworkEntry:
        """Read one entry."""
        if "entries" in self.__dict__:
            return self.entries[row]
        return self._entry(row, parse_json(self.meta(row, row + 1), f"{self.file.path}: network {self.ids[row]}"))

    def meta(self, first: int, last: int) -> bytes:
        """Read the JSON lines of rows ``first`` to ``last``, without the last."""
        edges = self.bounds("meta")
        return self.file.read("networks/meta", int(edges[first]), int(edges[last]))

    def _entry(self, row: int, value: Any) -> NetworkEntry:
        try:
            entry = decode_entry(value)
            if entry.id == self.ids[row]:
                return entry
            reason = f"is described as {entry.id!r:.70}"
        except (KeyError, TypeError, ValueError) as error:
            reason = f"has a damaged description ({type(error).__name__}: {error})"
        raise ZooError(f"{self.file.path}: network {self.ids[row]} {reason}; restore the file from a copy")

    def bounds(self, column: str) -> NDArray[np.uint64]:
        """Give the offsets of a ragged column, (n + 1,)."""
        cache: dict[str, NDArray[np.uint64]] = self.__dict__.setdefault("_bounds_cache", {})
        if column not in cache:
            cache[column] = self.file.bounds(f"networks/{column}")
        return cache[column]

    @cached_property
    def graph(self) -> NDArray[np.float32]:
        """Graph statistics, (n, g)."""
        return self.file.array("networks/graph")

    @cached_property
    def kernel(self) -> NDArray[np.float32]:
        """Probe kernels, (n, m, m)."""
        return self.file.array("networks/kernel")

    @cached_property
    def surprise(self) -> NDArray[np.float32]:
        """Surprises, (n, r, q)."""
        return self.file.array("networks/surprise")

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """Content digests, (n, 32)."""
        return self.file.array("networks/digest")

    def cell(self, column: str, row: int) -> NDArray[np.float32]:
        """Read one row of a ragged column of numbers."""
        start, stop = self.bounds(column)[row : row + 2].tolist()
        return np.frombuffer(self.file.read(f"networks/{column}", 4 * start, 4 * stop), "<f4")

    def fingerprint(self, row: int) -> Fingerprint:
        """Read one fingerprint, as arrays of its own."""
        return Fingerprint(
            topology=self.cell("topology", row).copy(),
            functional=self.cell("functional", row).copy(),
            graph=np.array(self.graph[row]),
            kernel=np.array(self.kernel[row]),
            surprise=np.array(self.surprise[row]),
        )

    def weights_range(self, row: int) -> tuple[int, int]:
        """Give the first and last byte of a network's weights."""
        start, stop = self.bounds("weights")[row : row + 2].tolist()
        return start, stop

    def weights(self, row: int) -> bytes:
        """Read a network's weights and check their sha256."""
        data = self.file.read("networks/weights", *self.weights_range(row))
        if hashlib.sha256(data).digest() != self.sha256[row].tobytes():
            path = self.file.path
            raise ZooError(f"{path}: weights of network {self.ids[row]} are damaged (sha256); restore it from a copy")
        return data

    @cached_property
    def sha256(self) -> NDArray[np.uint8]:
        """Digests of the weights, (n, 32)."""
        return self.file.array("networks/weights_sha256")
