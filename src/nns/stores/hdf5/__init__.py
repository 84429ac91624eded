"""A store in one HDF5 file with a journal folder beside it; docs/zoo-format.md says what is in them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.errors import MissingZooError, UnknownNameError, ZooError
from nns.stores._base import Store
from nns.stores._digest import dataset_content_digest, network_content_digest, zoo_digest
from nns.stores._records import check_latencies, fixed_shapes, normal_dataset, normal_network, normal_space
from nns.stores.hdf5.file import ZooFile
from nns.stores.hdf5.merge import merge
from nns.stores.hdf5.networks import Networks
from nns.stores.hdf5.shards import dataset_columns, header, latency_columns, network_columns, space_columns
from nns.stores.hdf5.tables import read_space
from nns.stores.hdf5.view import ATTEMPTS, Loader, View
from nns.types import (
    FINGERPRINT_PARTS,
    FIXED_PARTS,
    DatasetRecord,
    Fingerprint,
    LatencyRecord,
    NetworkEntry,
    NetworkRecord,
    SpaceRecord,
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

    def _lazily(self, read: Callable[[View], T]) -> T:
        """Read what was left on disk; a shard that is gone has been merged, and is looked for anew."""
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
        return self._current().ids

    def entries(self) -> Sequence[NetworkEntry]:
        """List all networks, sorted by id."""
        return self._current().entries

    def entry(self, network_id: str) -> NetworkEntry:
        """Read one network's entry, without parsing the others."""
        table, row = self._current().find(network_id)
        return table.entry(row)

    def fingerprint(self, network_id: str) -> Fingerprint:
        """Read one fingerprint."""
        table, row = self._current().find(network_id)
        return table.fingerprint(row)

    def weights(self, network_id: str) -> bytes:
        """Read one network's weights in safetensors format, checked against their sha256."""

        def read(view: View) -> bytes:
            table, row = view.find(network_id)
            return table.weights(row)

        return self._lazily(read)

    def network_digest(self, network_id: str) -> str:
        """Give the content digest of one network as it was recorded when the network was added."""
        table, row = self._current().find(network_id)
        return str(table.digests[row].tobytes().hex())

    def weights_sha256(self, network_id: str) -> str:
        """Give the sha256 of a network's weights as it was recorded when the network was added."""
        table, row = self._current().find(network_id)
        return str(table.sha256[row].tobytes().hex())

    def graphs(self) -> NDArray[np.float32]:
        """Read all graph statistics, (networks, GRAPH_DIM); read-only."""
        return self._current().stack("graph", (0, 0))

    def kernels(self) -> NDArray[np.float32]:
        """Read all probe kernels, (networks, n, n); a read-only view of the file once it is merged."""
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

        return self._lazily(read)

    def latencies(self, device: str) -> dict[str, float]:
        """Read measured latencies of one device."""
        return dict(self._current().latencies.get(device, {}))

    def devices(self) -> Sequence[str]:
        """List the devices that have measured latencies."""
        return tuple(sorted(self._current().latencies))

    def digest(self) -> str:
        """Give the content digest of networks and datasets, from the digests recorded when they were added."""
        view = self._current()
        networks = [table.digests[row].tobytes().hex() for table, row in view.order]
        return zoo_digest(networks, [digest for _, digest in view.datasets])

    def sizes(self) -> Mapping[str, int]:
        """Count bytes by kind, over the file and its journal."""
        kinds = dict.fromkeys(("weights", "fingerprints", "datasets", "spaces", "other"), 0)
        for part in self._current().parts:
            for column in part.file.columns():
                kinds[_kind(column)] += part.file.nbytes(column)
        return kinds

    def add_network(self, record: NetworkRecord) -> None:
        """Add a network; returns once it is safely in the journal."""
        normal, meta = normal_network(record)
        network_id = normal.entry.id
        digest = network_content_digest(normal.entry, normal.fingerprint, hashlib.sha256(normal.weights).hexdigest())
        self._check_shapes(normal)
        name = f"network-{network_id}.h5"
        for _ in range(ATTEMPTS):
            if self._has(self._main_networks(), network_id, digest):
                return
            fresh = self._loader.journal.commit(name, network_columns(normal, meta, digest))
            try:
                if fresh:  # a merge may have brought another network of that id into the file meanwhile
                    self._has(self._main_networks(), network_id, digest)
                else:
                    shard = Networks(ZooFile(self._loader.journal.folder / name, keep=False))
                    self._has(shard, network_id, digest)
            except FileNotFoundError:
                continue
            except ZooError:
                if fresh:
                    self._loader.journal.remove([name])
                raise
            self.refresh()
            return
        raise ZooError(f"{self.path} is merged again and again while it is written; try again later")

    def _main_networks(self) -> Networks | None:
        with self._lock:
            main = self._loader.main()
            return main.networks if main else None

    def _has(self, table: Networks | None, network_id: str, digest: str) -> bool:
        if table is None or network_id not in table.index:
            return False
        if table.digests[table.index[network_id]].tobytes().hex() != digest:
            raise ZooError(f"{self.path}: network {network_id!r} is in the zoo already, with other content")
        return True

    def _check_shapes(self, record: NetworkRecord) -> None:
        given = fixed_shapes(record.fingerprint)
        if self._shapes is None:
            tables = self._current().tables
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
        columns = header(datasets=1) | dataset_columns([normal], [meta], [dataset_content_digest(normal)])
        name = hashlib.sha256("\n".join(key).encode()).hexdigest()
        self._loader.journal.commit(f"dataset-{name}.h5", columns)
        self.refresh()

    def put_space(self, record: SpaceRecord) -> None:
        """Write a fitted space, in place of one of the same name."""
        normal = normal_space(record)
        journal = self._loader.journal
        journal.commit(journal.sequenced("space"), header(spaces=[normal.name]) | space_columns(normal))
        self.refresh()

    def put_latencies(self, records: Sequence[LatencyRecord]) -> None:
        """Write measured latencies, in place of older ones of the same network and device."""
        check_latencies(records)
        if not records:
            return
        latest = {(record.network_id, record.device): record for record in records}
        journal, columns = self._loader.journal, latency_columns(list(latest.values()))
        journal.commit(journal.sequenced("latency"), header(latencies=len(latest)) | columns)
        self.refresh()

    def merge(self) -> None:
        """Bring the journal into the zoo file; readers and writers need not stop."""
        merge(self.path)
        self.refresh()


def _kind(column: str) -> str:
    table, _, name = column.partition("/")
    if table == "networks":
        if name in ("weights", *FINGERPRINT_PARTS):
            return "weights" if name == "weights" else "fingerprints"
        return "other"
    return table if table in ("datasets", "spaces") else "other"
