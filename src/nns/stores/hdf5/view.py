"""A snapshot of a zoo: the main file and the shards of its journal, seen as one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.errors import UnknownNameError, ZooError
from nns.stores._codec import MAX_COUNT
from nns.stores._digest import transfer_content_digest, transfer_key
from nns.stores.hdf5.file import ZooFile, file_key
from nns.stores.hdf5.frames import Frames
from nns.stores.hdf5.joined import Joined
from nns.stores.hdf5.journal import Journal
from nns.stores.hdf5.networks import NUMBERS, Networks, Supernets, WeightsTable
from nns.stores.hdf5.tables import read_dataset_digests, read_datasets, read_latencies, read_transfers
from nns.types import DatasetRecord, LatencyRecord, NetworkColumns, NetworkEntry, TransferRecord

ATTEMPTS = 100
"""How often a snapshot is taken anew because of merges meanwhile."""

# 200 ms in all: to take its shard back a writer looks at the main file and unlinks, a few system calls
PATIENCE = 20
"""How often two networks of one id are looked at again, 10 ms apart, before that is an error."""

T = TypeVar("T", bound=WeightsTable)


class Part:
    """One file of a zoo, its tables parsed at first use."""

    def __init__(self, path: Path, stays_open: bool) -> None:
        """Open the file."""
        self.file = ZooFile(path, stays_open)
        self.frames = Frames(self.file)

    @cached_property
    def networks(self) -> Networks:
        """Its networks."""
        return Networks(self.file, self.frames)

    @cached_property
    def supernets(self) -> Supernets:
        """Its supernets."""
        return Supernets(self.file, self.frames)

    @property
    def weights_tables(self) -> tuple[Supernets, Networks]:
        """What has weights, supernets first."""
        return self.supernets, self.networks

    def table(self, of: type[T]) -> T:
        """Its networks or its supernets."""
        found: T = getattr(self, of.table)
        return found

    @cached_property
    def transfers(self) -> list[TransferRecord]:
        """Its transfers."""
        return read_transfers(self.file)

    @cached_property
    def datasets(self) -> list[tuple[DatasetRecord, str]]:
        """Its datasets with their content digests."""
        return read_datasets(self.file)

    @cached_property
    def latencies(self) -> list[LatencyRecord]:
        """Its measured latencies."""
        return read_latencies(self.file)


class ContentConflictError(ZooError):
    """Two files of a zoo hold different networks under one id.

    Attributes:
        name: What and which, as in ``"network 3f2a"``.
    """

    def __init__(self, name: str, message: str) -> None:
        """Keep the name."""
        super().__init__(message)
        self.name = name


class View:
    """What a zoo held when it was looked at. ``parts`` go from the main file to the latest shard."""

    def __init__(self, main: Part | None, shards: dict[str, Part], others: Sequence[Part] = ()) -> None:
        """Join the files; ``others`` are of zoos that are to be merged into this one.

        Raises:
            ZooError: If they do not belong together.
        """
        self.main = main
        self.shards = shards
        self.others = others
        self.parts = ([main] if main else []) + list(shards.values()) + list(others)
        files = {part.file for part in shards.values()}

        def compare(first: WeightsTable, row: int, second: WeightsTable, other: int) -> None:
            """Refuse two rows of one id and different content.

            But a shard that differs from the main file was never acknowledged: its writer looks at the file after
            it has linked the shard, and was killed before it could take the shard back. The file counts.
            """
            if (first.digests[row] == second.digests[other]).all():
                return
            if main is None or first.file is not main.file or second.file not in files:
                name = f"{first.kind} {first.name(row)}"
                paths = f"{first.file.path} and {second.file.path}"
                raise ContentConflictError(name, f"{name} differs between {paths}; remove one of the two")

        self.networks = Joined([part.networks for part in self.parts], compare)
        self.supernets = Joined([part.supernets for part in self.parts], compare)

    @cached_property
    def entries(self) -> tuple[NetworkEntry, ...]:
        """Entries of all networks, sorted by id."""
        return tuple(table.entries[row] for table, row in self.networks.order)

    def network(self, network_id: str) -> tuple[Networks, int]:
        """Find a network.

        Raises:
            UnknownNameError: If there is none.
        """
        return _found(self.networks, "network", network_id)

    def supernet(self, supernet_id: str) -> tuple[Supernets, int]:
        """Find a supernet.

        Raises:
            UnknownNameError: If there is none.
        """
        return _found(self.supernets, "supernet", supernet_id)

    def stack(self, column: str, empty: tuple[int, ...]) -> NDArray[Any]:
        """Join a column of fixed width over all networks that have it; that of a merged zoo is not copied."""
        tables = self.fingerprinted_tables
        shapes = {getattr(table, column).shape[1:] for table in tables}
        if not shapes:
            return np.zeros(empty, np.float32)
        if len(shapes) > 1:
            found = " and ".join(sorted(map(str, shapes)))
            raise ZooError(f"{tables[0].file.path}: networks with a {column} of {found} in one zoo")
        arrays = [getattr(table, column) for table in tables]
        joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        rows = self._prints[self._prints >= 0]
        return joined if len(rows) == len(joined) and (np.diff(rows) == 1).all() else joined[rows]

    @cached_property
    def fingerprinted_tables(self) -> list[Networks]:
        """The tables in which a network has a fingerprint."""
        return [table for table in self.networks.tables if table.fingerprinted.any()]

    @cached_property
    def _prints(self) -> NDArray[np.int64]:
        """Where the fingerprint of each network is among those of all tables, -1 where there is none, (n,)."""
        if not self.networks:
            return np.zeros(0, np.int64)
        tables = self.networks.tables
        starts = dict(zip(map(id, tables), np.cumsum([0, *(int(each.prints[-1]) for each in tables)]), strict=False))
        return self.networks.stack(
            lambda table: np.where(table.fingerprinted, table.prints[:-1] + starts[id(table)], -1)
        )

    @cached_property
    def columns(self) -> NetworkColumns:
        """The numbers of all networks, straight from the files."""
        columns: dict[str, NDArray[Any]] = {name: self._numbers(name) for name in NUMBERS}
        fingerprinted = self._prints >= 0
        fingerprinted.setflags(write=False)
        return NetworkColumns(self.networks.keys, **columns, fingerprinted=fingerprinted)

    def _numbers(self, name: str) -> NDArray[Any]:
        if not self.networks:
            return np.zeros(0, np.float64 if name == "accuracy" else np.int64)
        column = self.networks.stack(lambda table: table.numbers[name])
        if column.dtype.kind == "u":
            # a file's word is not taken: beyond this nns writes no number, and int64 would wrap around
            if column.max(initial=0) > MAX_COUNT:
                raise ZooError(f"{self.networks.tables[0].file.path} is damaged: {name} of {column.max()}; restore it")
            # as unsigned, one minus two would be huge, and a sum with int64 a float
            column = column.view(np.int64) if column.itemsize == 8 else column.astype(np.int64)
        column.setflags(write=False)
        return column

    @cached_property
    def datasets(self) -> list[tuple[DatasetRecord, str]]:
        """All datasets with their content digests, sorted by name.

        Of two with one key the first counts, but between zoos that are merged the one of the smaller digest, so
        that the order in which they are named does not matter.
        """
        found: dict[tuple[str, str], tuple[DatasetRecord, str]] = {}
        for part in self.parts:
            for record, digest in part.datasets:
                key = record.digest, record.extractor
                other = found.setdefault(key, (record, digest))
                if part in self.others and digest < other[1]:
                    found[key] = record, digest
        return sorted(found.values(), key=lambda item: (item[0].name, item[0].digest, item[0].extractor))

    def dataset_digests(self) -> list[str]:
        """Return the content digests of all datasets as they were recorded, in hex."""
        if self.parts == [self.main]:  # a merged zoo holds each once: nothing is parsed or hashed to tell that
            return read_dataset_digests(self.parts[0].file)
        return [digest for _, digest in self.datasets]

    @cached_property
    def spaces(self) -> dict[str, Part]:
        """Where the latest space of each name is."""
        return {name: part for part in self.parts for name in part.file.header.spaces}

    @cached_property
    def transfers(self) -> dict[tuple[str, str, bytes], TransferRecord]:
        """Latest transfer of each network, dataset and recipe; between zoos that are merged as with datasets."""
        found: dict[tuple[str, str, bytes], TransferRecord] = {}
        for part in self.parts:
            for record in part.transfers:
                old = found.setdefault(transfer_key(record), record)
                if part not in self.others or transfer_content_digest(record) < transfer_content_digest(old):
                    found[transfer_key(record)] = record
        return dict(sorted(found.items()))

    @cached_property
    def latencies(self) -> dict[str, dict[str, float]]:
        """Latest measured latencies: device to network id to seconds."""
        found: dict[str, dict[str, float]] = {}
        for part in self.parts:
            for record in part.latencies:
                found.setdefault(record.device, {})[record.network_id] = record.seconds
        return found


def _found(table: Joined[T], kind: str, name: str) -> tuple[T, int]:
    found = table.find(name)
    if found is None:
        raise UnknownNameError.among(kind, name, table.ids)
    return found


class Loader:
    """Takes snapshots of one zoo, and keeps what it has parsed from one to the next."""

    def __init__(self, path: Path) -> None:
        """Name the zoo; nothing is opened yet."""
        self.path = path
        self.journal = Journal(path)
        self._main: Part | None = None
        self._shards: dict[str, Part] = {}

    def main(self) -> Part | None:
        """Open the main file, or give the one that is open if it is still the same."""
        try:
            # by inode, size and time: a new file may get the inode number of the one that it replaced
            if self._main is None or self._main.file.key != file_key(self.path.lstat()):
                self._main = Part(self.path, stays_open=True)
        except FileNotFoundError:
            self._main = None
            # looked at again: between the two a merge may have made the first file and marked the journal
            if self.journal.is_marked() and not self.path.exists():
                raise ZooError(
                    f"{self.path} is gone, what is in {self.journal.folder} was added to it; restore it from a copy"
                ) from None
        except ZooError:
            raise
        except OSError as error:
            raise ZooError(f"{self.path} cannot be opened: {error.strerror}") from error
        return self._main

    def shard(self, name: str) -> Part:
        """Open a shard. FileNotFoundError if it has been merged."""
        path, known = self.journal.folder / name, self._shards.get(name)
        if known is not None and known.file.key == file_key(path.lstat()):  # a name may come again for another
            return known
        return _own(Part(path, stays_open=False))

    def load(self) -> View:
        """Take a snapshot.

        The journal is listed first and the main file opened after, so that a shard which a merge removes
        meanwhile is in the one or the other; in both it counts once.

        Raises:
            ZooError: If a file is damaged.
        """
        conflicts = 0
        for _ in range(ATTEMPTS):
            names = self.journal.names()  # before the main file: the other order misses what is merged in between
            main = self.main()
            merged = set(main.file.header.merged) if main else set()
            try:
                shards = {name: self.shard(name) for name in names if name not in merged}
                view = View(main, shards)
            except FileNotFoundError:  # a shard that was listed has been merged: the main file is another one by now
                continue
            except ContentConflictError:  # a writer may be about to take its shard back
                conflicts += 1
                if conflicts > PATIENCE:
                    raise
                time.sleep(0.01)
                continue
            self._shards = shards  # parsed once: with 1,000 shards a refresh opens those that are new, no others
            return view
        raise ZooError(f"{self.path} is merged again and again while it is read; try again later")


def _own(part: Part) -> Part:
    """Refuse a shard whose name is that of another network or supernet: a writer would take it for stored."""
    kind, _, rest = part.file.path.name.partition("-")
    for table in part.weights_tables:
        name = rest.removesuffix(".h5").partition("~")[0]
        if len(table) and (kind != table.kind or table.ids != (name,)):
            raise ZooError(f"{part.file.path} is damaged: it holds {table.name(0)}; remove it from the journal")
    return part


def runs(order: Sequence[tuple[T, int]]) -> Iterator[tuple[T, int, int]]:
    """Group rows that follow one another in one table: table, first row, last row + 1."""
    start = 0
    for at in range(1, len(order) + 1):
        if at == len(order) or order[at] != (order[at - 1][0], order[at - 1][1] + 1):
            yield order[start][0], order[start][1], order[at - 1][1] + 1
            start = at
