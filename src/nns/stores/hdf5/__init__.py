"""A store in one HDF5 file with a journal folder beside it; docs/zoo-format.md says what is in them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.errors import MissingZooError, UnknownNameError, ZooError
from nns.stores._base import SIZE_KINDS, Store
from nns.stores._digest import dataset_content_digest, transfer_content_digest, transfer_key, zoo_digest
from nns.stores._records import check_latencies, fixed_shapes, normal_dataset, normal_space, normal_transfer
from nns.stores.hdf5.columns import Column
from nns.stores.hdf5.merge import absorb, collect_garbage, merge, remove
from nns.stores.hdf5.networks import Networks, Supernets, WeightsTable
from nns.stores.hdf5.shards import (
    BATCH_BYTES,
    Prepared,
    batch_columns,
    dataset_columns,
    header,
    latency_columns,
    lines_columns,
    networks_columns,
    prepare_network,
    prepare_supernet,
    space_columns,
    supernets_columns,
)
from nns.stores.hdf5.tables import read_space
from nns.stores.hdf5.view import ATTEMPTS, Conflict, Loader, Part, View
from nns.types import (
    FINGERPRINT_PARTS,
    FIXED_PARTS,
    DatasetRecord,
    Fingerprint,
    Garbage,
    LatencyRecord,
    NetworkColumns,
    NetworkEntry,
    NetworkRecord,
    Packing,
    SpaceRecord,
    SupernetRecord,
    TransferRecord,
)

T = TypeVar("T")


class HDF5Store(Store):
    """The zoo at ``path``: writes go to the journal, :meth:`merge` brings them into the file.

    Any number of processes may write at once, also while one of them merges. Nothing is created before the
    first write.

    Args:
        path: The zoo file.
        must_exist: Whether a zoo that is not there is an error.

    Raises:
        MissingZooError: If it must exist and does not.
        ZooError: If the file is no zoo, of a newer version, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, must_exist: bool = False) -> None:
        """Open the zoo file, if there is one."""
        self.path = Path(path)
        self._lock = threading.RLock()
        self._loader = Loader(self.path)
        self._view: View | None = None
        self._moved: View | None = None
        self._shapes: tuple[tuple[int, ...], ...] | None = None
        if self._loader.main() is None and must_exist and not self._loader.journal.names():
            raise MissingZooError(f"there is no zoo at {self.path}; make one with `nns zoo build {self.path}`")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path alone."""
        return type(self), (self.path,)

    def _current(self) -> View:
        with self._lock:
            if self._view is None:
                self._view = self._loader.load()
            return self._view

    def from_view(self, read: Callable[[View], T]) -> T:
        """Read what the snapshot left on disk; a shard that is gone has been merged, and is looked for anew."""
        view: View = self._current()
        for _ in range(ATTEMPTS):
            try:
                return read(view)
            except FileNotFoundError:
                with self._lock:
                    if self._moved is None or self._moved is view:
                        self._moved = self._loader.load()
                    view = self._moved
        raise ZooError(f"{self.path} is merged again and again while it is read; try again later")

    def refresh(self) -> None:
        """Take a new snapshot at the next read."""
        with self._lock:
            self._view = self._moved = None

    def close(self) -> None:
        """Let go of the file and of what was read from it."""
        with self._lock:
            self._view = self._moved = None
            self._loader = Loader(self.path)

    def ids(self) -> Sequence[str]:
        """List the ids of all networks, sorted."""
        return self._current().networks.ids

    def entries(self) -> Sequence[NetworkEntry]:
        """List all networks, sorted by id."""
        return self._current().entries

    def columns(self) -> NetworkColumns:
        """Read the numbers of all networks, sorted by id, straight from the files: no JSON is parsed.

        They are what :meth:`entries` say: each entry is compared with its row when it is read.

        Raises:
            ZooError: If a column is damaged.
        """
        return self._current().columns

    def entry(self, network_id: str) -> NetworkEntry:
        """Read one network's entry, without parsing the others."""
        table, row = self._current().network(network_id)
        return table.entry(row)

    def fingerprint(self, network_id: str) -> Fingerprint:
        """Read one fingerprint."""
        table, row = self._current().network(network_id)
        return table.fingerprint(row)

    def weights(self, network_id: str) -> bytes:
        """Read one network's weights in safetensors format, checked against their sha256."""
        expected = self.network_digest(network_id)

        def read(view: View) -> bytes:
            table, row = view.network(network_id)
            if table.digest(row) != expected:
                raise UnknownNameError(f"network {network_id!r} was replaced by another since it was listed")
            return table.weights(row)

        return self.from_view(read)

    def network_digest(self, network_id: str) -> str:
        """Return the content digest of one network as it was recorded when the network was added."""
        table, row = self._current().network(network_id)
        return table.digest(row)

    def weights_sha256(self, network_id: str) -> str:
        """Return the sha256 of a network's weights as it was recorded when the network was added."""
        table, row = self._current().network(network_id)
        return table.weights_sha256(row)

    def graphs(self) -> NDArray[np.float32]:
        """Read all graph statistics, (networks, GRAPH_DIM); read-only."""
        return self._current().stack("graph", (0, 0))

    def kernels(self) -> NDArray[np.float32]:
        """Read all similarity kernels, (networks, n, n); a read-only view of the file once it is merged."""
        return self._current().stack("kernel", (0, 0, 0))

    def surprises(self) -> NDArray[np.float32]:
        """Read all surprises, (networks, rows, n); a read-only view of the file once it is merged."""
        return self._current().stack("surprise", (0, 0, 0))

    def datasets(self) -> Sequence[DatasetRecord]:
        """Read all datasets, sorted by name; their arrays are read-only."""
        return tuple(record for record, _ in self._current().datasets)

    def spaces(self) -> Sequence[str]:
        """List the names of the fitted spaces."""
        return tuple(sorted(self._current().spaces))

    def space(self, name: str) -> SpaceRecord:
        """Read one fitted space."""

        def read(view: View) -> SpaceRecord:
            if name not in view.spaces:
                raise UnknownNameError.among("space", name, view.spaces)
            return read_space(view.spaces[name].file, name)

        return self.from_view(read)

    def latencies(self, device: str) -> dict[str, float]:
        """Read measured latencies of one device."""
        return dict(self._current().latencies.get(device, {}))

    def devices(self) -> Sequence[str]:
        """List the devices that have measured latencies."""
        return tuple(sorted(self._current().latencies))

    def digest(self) -> str:
        """Return the content digest of the zoo, from the digests recorded when its parts were added."""
        view = self._current()
        transfers = map(transfer_content_digest, view.transfers.values())
        return zoo_digest(view.networks.digests(), view.dataset_digests(), view.supernets.digests(), transfers)

    def sizes(self) -> Mapping[str, int]:
        """Count bytes by kind, over the file and its journal."""
        kinds = dict.fromkeys(SIZE_KINDS, 0)
        for part in self._current().parts:
            for column in part.file.columns():
                kinds[_kind(column)] += part.file.nbytes(column)
        return kinds

    def add_network(self, record: NetworkRecord) -> None:
        """Add a network; returns once it is safely in the journal."""
        prepared = prepare_network(record)
        self._check_shapes(prepared.record)
        self._add(Networks, prepared, networks_columns([prepared]))

    def add_supernet(self, record: SupernetRecord) -> None:
        """Add a supernet; returns once it is safely in the journal."""
        prepared = prepare_supernet(record)
        self._add(Supernets, prepared, supernets_columns([prepared]))

    def _add(self, table: type[WeightsTable], prepared: Prepared[Any], columns: dict[str, Column]) -> None:
        """Commit a shard of one network or supernet, unless it is there already.

        A shard's name is taken once and for all, so two writers of one id meet at it. After a removal the name of
        the removed shard stays barred, and the next of ``id``, ``id~1``, ``id~2``, … is used.
        """
        name, digest = prepared.record.entry.id, prepared.digest
        about = header({table.table: 1, "frames": int("frames/data" in columns)})
        for _ in range(ATTEMPTS):
            self._loader.journal.settle(name)  # it may just be coming or going
            if self._has(self._main(), table, name, digest):
                return
            shard = self._free_name(f"{table.kind}-{name}")
            fresh = self._loader.journal.commit(shard, columns, about)
            try:
                if fresh:  # another of that id may have come into the file meanwhile, or the name may be barred
                    self._loader.journal.settle(name)
                    self._has(self._main(), table, name, digest)
                    if shard in self._barred():
                        self._loader.journal.remove([shard])
                        continue
                else:
                    part = Part(self._loader.journal.folder / shard, keep=False)
                    if shard in self._barred():
                        continue
                    if not self._has(part, table, name, digest):
                        raise ZooError(f"{part.file.path} is damaged: it does not hold {name!r}; remove it")
            except FileNotFoundError:
                continue
            except ZooError:
                if fresh:
                    self._loader.journal.remove([shard])
                raise
            self.refresh()
            return
        raise ZooError(f"{self.path} is merged again and again while it is written; try again later")

    def _barred(self) -> set[str]:
        """Return the names of shards that the main file says are in it or removed."""
        main = self._main()
        return set(main.file.header.merged) if main else set()

    def _free_name(self, stem: str) -> str:
        barred = self._barred()
        return next(
            name for number in count() if (name := f"{stem}~{number}.h5" if number else f"{stem}.h5") not in barred
        )

    def _main(self) -> Part | None:
        with self._lock:
            return self._loader.main()

    def _has(self, part: Part | None, of: type[WeightsTable], name: str, digest: str) -> bool:
        with self._lock:
            table = part.table(of) if part else None
        row = table.find(name) if table else None
        if table is None or row is None:
            return False
        if table.digest(row) != digest:
            raise ZooError(f"{self.path}: {table.kind} {name!r} is in the zoo already, with other content")
        return True

    def add_networks(self, records: Iterable[NetworkRecord]) -> None:
        """Add many networks: a few files of many rows, merged at once, in place of a shard each."""
        files: list[Path] = []
        batch: list[NetworkRecord] = []
        size = 0
        try:
            for record in records:
                batch.append(record)
                size += len(record.weights) + (64 << 10)
                if size > BATCH_BYTES:
                    files.append(self._write_batch(batch))
                    batch, size = [], 0
            if batch:
                files.append(self._write_batch(batch))
            if files:
                absorb(self.path, [Part(file, keep=True) for file in files], pack_them=True)
        except Conflict as error:
            raise ZooError(f"{self.path}: {error.name} is in the zoo already, with other content") from error
        finally:
            for file in files:
                file.unlink(missing_ok=True)
        self.refresh()

    def _write_batch(self, records: Sequence[NetworkRecord]) -> Path:
        columns, about = batch_columns(records)
        self._check_shapes(records[0])
        return self._loader.journal.write(columns, about)

    def absorb(self, other: Store) -> None:
        """Add what is in another store; from another zoo file, weights are copied as they are packed."""
        if isinstance(other, HDF5Store):
            other.from_view(lambda view: absorb(self.path, view.parts))
            self.refresh()
        else:
            super().absorb(other)

    def remove(self, ids: Collection[str]) -> None:
        """Remove networks and supernets for good; the file is written anew."""
        remove(self.path, ids)
        self.refresh()

    def collect_garbage(self) -> Garbage:
        """Remove what nothing refers to, and pack all weights anew."""
        garbage = collect_garbage(self.path)
        self.refresh()
        return garbage

    def supernets(self) -> Sequence[NetworkEntry]:
        """List the supernets, sorted by id."""
        return tuple(table.entry(row) for table, row in self._current().supernets.order)

    def supernet_digest(self, supernet_id: str) -> str:
        """Return the content digest of one supernet as it was recorded when the supernet was added."""
        table, row = self._current().supernet(supernet_id)
        return table.digest(row)

    def supernet_weights(self, supernet_id: str) -> bytes:
        """Read one supernet's weights in safetensors format, checked against their sha256."""

        def read(view: View) -> bytes:
            table, row = view.supernet(supernet_id)
            return table.weights(row)

        return self.from_view(read)

    def transfers(self) -> Sequence[TransferRecord]:
        """Read all transfers, sorted by network, dataset digest and recipe."""
        return tuple(self._current().transfers.values())

    def put_transfers(self, records: Sequence[TransferRecord]) -> None:
        """Write transfers, in place of older ones of the same network, dataset and recipe."""
        rows = {transfer_key(record): meta for record, meta in map(normal_transfer, records)}
        if rows:
            self._put("transfer", lines_columns("transfers", list(rows.values())), {"transfers": len(rows)})

    def _put(self, kind: str, columns: dict[str, Column], rows: Mapping[str, int], spaces: Sequence[str] = ()) -> None:
        journal = self._loader.journal
        journal.commit(journal.sequenced(kind), columns, header(rows, spaces))
        self.refresh()

    def packing(self) -> Packing:
        """Count the bytes of weights, as they are kept and as they are."""
        decoded = stored = 0
        codecs: dict[str, tuple[int, int, int]] = {}
        view = self._current()
        for table, row in (*view.networks.order, *view.supernets.order):
            decoded += int(table.lengths[row])
        for part in view.parts:
            stored += part.file.nbytes("frames/data")
            for name, counts in part.frames.by_codec().items():
                frames, before, after = (a + b for a, b in zip(codecs.get(name, (0, 0, 0)), counts, strict=True))
                codecs[name] = frames, before, after
        return Packing(decoded, stored, dict(sorted(codecs.items())))

    def damage(self) -> Sequence[str]:
        """Check the seal of the file and of each shard."""
        found = []
        for part in self._current().parts:
            with suppress(FileNotFoundError):
                if not part.file.sealed():
                    found.append(f"{part.file.path} is not as it was written (seal); restore it from a copy")
        return tuple(found)

    def _check_shapes(self, record: NetworkRecord) -> None:
        given = fixed_shapes(record.fingerprint)
        if self._shapes is None:
            tables = self._current().networks.tables
            self._shapes = tuple(getattr(tables[0], name).shape[1:] for name in FIXED_PARTS) if tables else None
        if self._shapes is None:
            self._shapes = given
        if self._shapes != given:
            what = f"network {record.entry.id!r}: fingerprint of shapes {given}"
            raise ZooError(f"{self.path}: {what}, the zoo has {self._shapes}; compute it as the zoo's were")

    def add_dataset(self, record: DatasetRecord) -> None:
        """Add a dataset's query features; one of the same digest and extractor is left as it is."""
        normal, meta = normal_dataset(record)
        key = (normal.digest, normal.extractor)
        if any((old.digest, old.extractor) == key for old in self.datasets()):
            return
        columns = dataset_columns([normal], [meta], [dataset_content_digest(normal)])
        name = hashlib.sha256("\n".join(key).encode()).hexdigest()
        self._loader.journal.commit(self._free_name(f"dataset-{name}"), columns, header({"datasets": 1}))
        self.refresh()

    def put_space(self, record: SpaceRecord) -> None:
        """Write a fitted space, in place of one of the same name."""
        normal = normal_space(record)
        self._put("space", space_columns(normal), {}, [normal.name])

    def put_latencies(self, records: Sequence[LatencyRecord]) -> None:
        """Write measured latencies, in place of older ones of the same network and device."""
        check_latencies(records)
        if not records:
            return
        latest = {(record.network_id, record.device): record for record in records}
        self._put("latency", latency_columns(list(latest.values())), {"latencies": len(latest)})

    def merge(self) -> None:
        """Bring the journal into the zoo file; readers and writers need not stop."""
        merge(self.path)
        self.refresh()


def _kind(column: str) -> str:
    table, _, name = column.partition("/")
    if table in ("frames", "supernets"):
        return "weights" if name == "data" else "other"
    if table == "networks":
        return "fingerprints" if name in FINGERPRINT_PARTS else "other"
    return table if table in SIZE_KINDS else "other"
