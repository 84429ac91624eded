"""The networks of one zoo file: entries parsed once, weights left where they are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores._codec import (
    MAX_BYTES,
    MAX_CLASSES,
    MAX_MACS,
    MAX_PARAMS,
    MAX_WIDTH,
    decode_entry,
    parse_json,
    without_gc,
)
from nns.stores._description import Description, parse_descriptions
from nns.stores._numbers import are_bounded
from nns.stores._records import MAX_META
from nns.stores.hdf5 import schema
from nns.stores.hdf5.file import ZooFile
from nns.stores.hdf5.frames import Frames
from nns.stores.hdf5.ids import is_ascending, position, texts_of
from nns.types import Fingerprint, NetworkEntry

ROWS_AT_ONCE = 16_384
"""Descriptions that are looked through together: some 12 MB, and 25 MB of what is made of them."""

# or four threads that verify would hold four supernets and what they are differences to at one time
LARGE = 256 << 20
"""Bytes of weights from which no two networks are decoded at the same time."""

_one_large = threading.Lock()


class WeightsTable:
    """Networks or supernets of one file: entries, and weights in frames."""

    table = ""
    kind = ""

    def __init__(self, file: ZooFile, frames: Frames) -> None:
        """Read the ids."""
        self.file = file
        self.frames = frames
        self.keys = file.ids(f"{self.table}/id") if file.header.rows[self.table] else np.zeros(0, "S64")
        # the writer sorts, so there is nothing to sort in a file of its own; another writer's need not be sorted
        self._order = None if is_ascending(self.keys) else np.argsort(self.keys, kind="stable")
        if self._order is not None and not is_ascending(self.keys[self._order]):
            raise ZooError(f"{file.path} is damaged: an id occurs twice; restore it from a copy")

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.keys)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all rows as strings; what needs only some of them looks at ``keys``."""
        return texts_of(self.keys)

    def find(self, network_id: str) -> int | None:
        """Return the row of an id, None if it is not there."""
        return position(self.keys, network_id, self._order)

    def name(self, row: int) -> str:
        """Return the id of a row."""
        return bytes(self.keys[row]).decode("ascii")

    @cached_property
    def entries(self) -> list[NetworkEntry]:
        """All entries, in the order of ``ids``."""
        if not len(self):
            return []
        with without_gc():  # nothing here makes cycles, and looking for them would take half the time
            return [self._entry(row, value) for row, value in enumerate(self.file.rows(self.table))]

    def entry(self, row: int) -> NetworkEntry:
        """Read one entry."""
        if "entries" in self.__dict__:
            return self.entries[row]
        return self._entry(row, parse_json(self.meta(row, row + 1), f"{self.file.path}: {self.name(row)}"))

    def meta(self, first: int, last: int) -> bytes:
        """Read the JSON lines of rows ``first`` to ``last``, without the last."""
        edges = self.bounds("meta")
        return self.file.read(f"{self.table}/meta", int(edges[first]), int(edges[last]))

    def rows_with(self, text: bytes) -> NDArray[np.intp]:
        """Return the rows whose JSON line has a text in it; the bytes are looked through, and none is parsed."""
        edges, found = self.bounds("meta"), []
        for start in range(0, len(self), ROWS_AT_ONCE):
            lines = self.meta(start, min(start + ROWS_AT_ONCE, len(self)))
            at = lines.find(text)
            while at >= 0:
                found.append(int(edges[start]) + at)
                at = lines.find(text, at + len(text))
        return np.unique(np.searchsorted(edges, found, side="right") - 1)

    def describe(self, summarise: Callable[[Sequence[Description]], NDArray[Any]]) -> NDArray[Any]:
        """Summarise what the descriptions say, some at a time: the entries of a million would take five gigabytes.

        Args:
            summarise: Returns a row for each of some networks.
        """
        parts = []
        for start in range(0, len(self), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, len(self))
            with without_gc():  # nothing here makes cycles, and looking for them takes longer the more there is
                try:
                    found = parse_descriptions(self.meta(start, stop))
                except ValueError as error:
                    what = f"a damaged description of {self.name(start)} to {self.name(stop - 1)} ({error})"
                    raise ZooError(f"{self.file.path}: {what}; restore it from a copy") from error
                if len(found) != stop - start:
                    raise ZooError(f"{self.file.path} is damaged: {self.table}/meta has other rows; restore it")
                parts.append(summarise(found))
        return np.concatenate(parts) if parts else np.asarray(summarise(()))

    def _entry(self, row: int, value: Any) -> NetworkEntry:
        try:
            entry = decode_entry(value)
            if entry.id == self.name(row):
                self._refuse_other_numbers(row, entry)
                return entry
            reason = f"is described as {entry.id!r:.70}"
        except (KeyError, TypeError, ValueError) as error:
            reason = f"has a damaged description ({type(error).__name__}: {error})"
        raise ZooError(f"{self.file.path}: {self.name(row)} {reason}; restore the file from a copy")

    def _refuse_other_numbers(self, row: int, entry: NetworkEntry) -> None:
        """Compare an entry with the columns that repeat it; ValueError if they differ."""

    def bounds(self, column: str) -> NDArray[np.uint64]:
        """Return the offsets of a ragged column, (n + 1,)."""
        cache: dict[str, NDArray[np.uint64]] = self.__dict__.setdefault("_bounds_cache", {})
        if column not in cache:
            cache[column] = found = self.file.bounds(f"{self.table}/{column}")
            if column == "meta" and np.diff(found).max(initial=0) > MAX_META + 1:
                raise ZooError(
                    f"{self.file.path}: a description has more than {MAX_META} bytes; restore it from a copy"
                )
        return cache[column]

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """Content digests, (n, 32)."""
        return self.file.array(f"{self.table}/digest")

    @cached_property
    def sha256(self) -> NDArray[np.uint8]:
        """Digests of the weights, (n, 32)."""
        return self.file.array(f"{self.table}/weights_sha256")

    def digest(self, row: int) -> str:
        """Return the content digest as it was recorded."""
        return str(self.digests[row].tobytes().hex())

    def weights_sha256(self, row: int) -> str:
        """Return the sha256 of the weights as it was recorded."""
        return str(self.sha256[row].tobytes().hex())

    @cached_property
    def lengths(self) -> NDArray[np.uint64]:
        """Bytes of the weights, (n,)."""
        return self.file.array(f"{self.table}/weights_length")

    def rows(self, row: int) -> list[int]:
        """Return the rows of the frames that a network's weights consist of."""
        start, stop = self.bounds("frames")[row : row + 2].tolist()
        found: list[int] = self.file.array(f"{self.table}/frames")[start:stop].tolist()
        return found

    def weights(self, row: int) -> bytes:
        """Read weights and check their sha256."""
        what, length = f"weights of {self.name(row)}", int(self.lengths[row])
        with _one_large if length > LARGE else nullcontext():
            data, sha256 = self.frames.join(self.rows(row), length, what)
        if sha256 != self.sha256[row].tobytes():
            raise ZooError(f"{self.file.path}: {what} are damaged (sha256); restore it from a copy")
        return data


class Supernets(WeightsTable):
    """The supernets of one file."""

    table = "supernets"
    kind = "supernet"


class Networks(WeightsTable):
    """The networks of one file."""

    table = "networks"
    kind = "network"

    @cached_property
    def fingerprinted(self) -> NDArray[np.bool_]:
        """Which networks have a fingerprint, (n,)."""
        if self.file.header.version == schema.PLAIN_VERSION or not len(self):
            return np.ones(len(self), np.bool_)
        found = self.file.array(schema.FINGERPRINTED)
        if found.max(initial=0) > 1 or int(found.sum()) != len(self.graph):
            raise ZooError(f"{self.file.path} is damaged: {len(self.graph)} fingerprints of other networks; restore it")
        return found.astype(np.bool_)

    @cached_property
    def prints(self) -> NDArray[np.int64]:
        """Fingerprints of the networks before each row, (n + 1,): the row of its own in ``graph`` and so on."""
        return np.append(0, np.cumsum(self.fingerprinted, dtype=np.int64))

    @cached_property
    def graph(self) -> NDArray[np.float32]:
        """Graph statistics of the networks with a fingerprint, (k, g)."""
        return self._bounded("graph")

    @cached_property
    def kernel(self) -> NDArray[np.float32]:
        """Probe kernels, (k, m, m)."""
        return self._bounded("kernel")

    @cached_property
    def surprise(self) -> NDArray[np.float32]:
        """Surprises, (k, r, q)."""
        return self._bounded("surprise")

    def _bounded(self, part: str) -> NDArray[np.float32]:
        found = self.file.array(f"networks/{part}")
        if not are_bounded(found):
            raise ZooError(f"{self.file.path}: fingerprint: {part} holds NaN or infinity; restore it from a copy")
        return found

    def cell(self, column: str, row: int) -> NDArray[np.float32]:
        """Read one row of a ragged column of numbers."""
        start, stop = self.bounds(column)[row : row + 2].tolist()
        found = np.frombuffer(self.file.read(f"networks/{column}", 4 * start, 4 * stop), "<f4")
        if not are_bounded(found):
            raise ZooError(
                f"{self.file.path}: fingerprint: {column} of {self.name(row)} holds NaN or infinity; restore it"
            )
        return found

    def fingerprint(self, row: int) -> Fingerprint | None:
        """Read one fingerprint, as arrays of its own; None if the network has none."""
        if not self.fingerprinted[row]:
            return None
        at = int(self.prints[row])
        return Fingerprint(
            topology=self.cell("topology", row).copy(),
            functional=self.cell("functional", row).copy(),
            graph=np.array(self.graph[at]),
            kernel=np.array(self.kernel[at]),
            surprise=np.array(self.surprise[at]),
        )

    @cached_property
    def numbers(self) -> dict[str, NDArray[Any]]:
        """The columns that repeat numbers of the entries, by name."""
        found = {name: self.file.array(f"networks/{name}") for name in NUMBERS}
        for name, most in MOST.items():
            if len(self) and not (found[name] <= most).all():
                raise ZooError(f"{self.file.path} is damaged: {name} of {found[name].max()}; restore it from a copy")
        accuracy = found["accuracy"]
        if not (np.isnan(accuracy) | (accuracy >= 0) & (accuracy <= 1)).all():
            raise ZooError(f"{self.file.path} is damaged: an accuracy is not between 0 and 1; restore it from a copy")
        return found

    def _refuse_other_numbers(self, row: int, entry: NetworkEntry) -> None:
        found = tuple(column[row].item() for column in self.numbers.values())
        expected = numbers_of(entry)
        if found != expected and repr(found) != repr(expected):  # NaN is not equal to itself
            raise ValueError(f"its numbers are {expected}, the columns have {found}")


RAGGED_PARTS = ("topology", "functional")
"""Parts of a fingerprint whose length differs between networks; the others are FIXED_PARTS."""

NO_FINGERPRINTS = {
    name: np.zeros((0,) * rank, "<f4") for name, rank in {"graph": 2, "kernel": 3, "surprise": 3}.items()
}
"""The columns of FIXED_PARTS where no network has a fingerprint."""

NUMBERS = {
    "body_params": "<u8",
    "body_macs": "<u8",
    "body_bytes": "<u8",
    "feature_dim": "<u4",
    "classes": "<u4",
    "accuracy": "<f8",
}
"""Columns of numbers and their types."""


MOST = {"body_params": MAX_PARAMS, "body_macs": MAX_MACS, "body_bytes": MAX_BYTES}
MOST |= {"feature_dim": MAX_WIDTH, "classes": MAX_CLASSES}
"""The largest numbers in them."""


def numbers_of(entry: NetworkEntry) -> tuple[int, int, int, int, int, float]:
    """Return the numbers of an entry, in the order of :data:`NUMBERS`."""
    cost = entry.cost
    sizes = (cost.body_params, cost.body_macs, cost.body_bytes, cost.feature_dim)
    return (*sizes, len(entry.classes), entry.accuracy)
