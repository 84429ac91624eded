"""Networks or supernets of several files seen as one table, sorted by id, without a Python object for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.stores.hdf5.ids import Ids, is_ascending, position
from nns.stores.hdf5.networks import WeightsTable

T = TypeVar("T", bound=WeightsTable)


class Joined(Generic[T]):
    """The rows of some tables, each id once: of two rows with one id that of the first table counts.

    Attributes:
        tables: The tables, those without rows left out.
        keys: Ids of all rows, S64, sorted.
    """

    def __init__(self, tables: Sequence[T], compare: Callable[[T, int, T, int], None]) -> None:
        """Join tables; ``compare`` is asked for each two rows of one id, and raises if they must not be."""
        self.tables = [table for table in tables if len(table)]
        self._starts = np.cumsum([0, *(len(table) for table in self.tables)])
        keys = np.concatenate([table.keys for table in self.tables]) if self.tables else np.zeros(0, "S64")
        self._rows: NDArray[np.intp] = np.arange(len(keys))  # of the tables one after another
        if not is_ascending(keys):  # a merged zoo alone is ascending: nothing is sorted or copied
            self._rows = np.argsort(keys, kind="stable")  # stable: of equal ids the first table's comes first
            keys = keys[self._rows]
            again = np.append(False, keys[1:] == keys[:-1])
            firsts = np.maximum.accumulate(np.where(again, 0, np.arange(len(keys))))
            for at in np.flatnonzero(again).tolist():
                compare(*self.at(int(firsts[at])), *self.at(at))
            keys, self._rows = keys[~again], self._rows[~again]
        self.keys = keys

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.keys)

    def __contains__(self, name: object) -> bool:
        """Return whether an id is there."""
        return isinstance(name, str) and position(self.keys, name) is not None

    def at(self, at: int) -> tuple[T, int]:
        """Return the table that has a row of ``keys``, and its row there."""
        row = int(self._rows[at])
        table = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.tables[table], row - int(self._starts[table])

    def find(self, name: str) -> tuple[T, int] | None:
        """Return table and row of an id, None if it is not there."""
        at = position(self.keys, name)
        return None if at is None else self.at(at)

    @cached_property
    def ids(self) -> Ids:
        """All ids as strings, sorted."""
        return Ids(self.keys)

    @cached_property
    def order(self) -> list[tuple[T, int]]:
        """Table and row of each id, sorted by id: a tuple a network, so not for a search."""
        table = np.searchsorted(self._starts, self._rows, side="right") - 1
        rows = (self._rows - self._starts[table]).tolist()
        return [(self.tables[at], row) for at, row in zip(table.tolist(), rows, strict=True)]

    def digests(self) -> NDArray[np.uint8]:
        """Return the content digests of all rows as they were recorded, (n, 32)."""
        return self.stack(lambda table: table.digests) if self.tables else np.zeros((0, 32), np.uint8)

    def stack(self, read: Callable[[T], NDArray[Any]]) -> NDArray[Any]:
        """Join a column of all tables in the order of ``keys``; that of a merged zoo is not copied.

        There must be a table, and the columns must have one width.
        """
        arrays = [read(table) for table in self.tables]
        joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        whole = len(self._rows) == len(joined) and (np.diff(self._rows) == 1).all()
        return joined if whole else joined[self._rows]
