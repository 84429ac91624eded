"""What is read of a zoo: one snapshot after another of its file and journal."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.errors import MissingZooError, UnknownNameError, ZooError
from nns.stores._description import Description
from nns.stores._digest import transfer_content_digest, zoo_digest
from nns.stores.hdf5.ids import rows_of
from nns.stores.hdf5.networks import Networks
from nns.stores.hdf5.schema import PLAIN_VERSION
from nns.stores.hdf5.tables import read_space
from nns.stores.hdf5.view import ATTEMPTS, Loader, View
from nns.types import (
    FINGERPRINT_PARTS,
    FIXED_PARTS,
    DatasetRecord,
    Fingerprint,
    NetworkColumns,
    NetworkEntry,
    Packing,
    SpaceRecord,
    TransferRecord,
)

T = TypeVar("T")

SIZE_KINDS = ("weights", "fingerprints", "datasets", "transfers", "spaces", "other")
"""Kinds of stored bytes that :meth:`StoreReader.sizes` tells apart."""


class StoreReader:
    """The zoo at ``path``, to be read; :class:`~nns.stores.HDF5Store` writes it as well.

    Reading is lazy: listing never touches weights. What is shown is a snapshot: it changes with the store's own
    writes and at :meth:`refresh`, never between two reads, so rows of :meth:`graphs`, :meth:`columns` and
    :meth:`entries` belong together. Arrays that come out may be read-only views of the file; copy what is to be
    changed. A store may be used from several threads, after a fork, and may be pickled.

    Args:
        path: The zoo file.
        must_exist: Whether a zoo that is not there is an error.

    Raises:
        MissingZooError: If it must exist and does not.
        ZooError: If the file is no zoo, of another version, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, must_exist: bool = False) -> None:
        """Open the zoo file, if there is one."""
        self.path = Path(path)
        self._lock = threading.RLock()  # of the snapshot in this process; other processes need none, files never change
        self._loader = Loader(self.path)
        self._view: View | None = None
        self._later: View | None = None  # a later snapshot, in which shards of the first that are merged can be read
        if self._loader.main() is None and must_exist and not self._loader.journal.names():
            raise MissingZooError(f"there is no zoo at {self.path}; make one with `nns zoo build {self.path}`")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path alone: a descriptor or a lock means nothing in another process."""
        return type(self), (self.path,)

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    def _current(self) -> View:
        with self._lock:
            if self._view is None:
                self._view = self._loader.load()
            return self._view

    def from_view(self, read: Callable[[View], T]) -> T:
        """Read what the snapshot left on disk; a shard that is gone has been merged, and is looked for anew.

        The main file of a snapshot is held open, so what a merge replaces stays readable. Shards are not: there may
        be thousands, and a process has 1,024 descriptors. Listings stay those of the first snapshot.
        """
        view: View = self._current()
        for _ in range(ATTEMPTS):
            try:
                return read(view)
            except FileNotFoundError:
                with self._lock:  # of several threads that miss a shard one loads, the others use what it found
                    if self._later is None or self._later is view:
                        self._later = self._loader.load()
                    view = self._later
        raise ZooError(f"{self.path} is merged again and again while it is read; try again later")

    def refresh(self) -> None:
        """Take a new snapshot at the next read, so that what others have written since is seen."""
        with self._lock:
            self._view = self._later = None

    def stamp(self) -> tuple[Any, ...]:
        """Return what is another after each write, by anybody: two system calls, nothing is read."""
        found: list[Any] = []
        for path in (self.path, self._loader.journal.folder):
            try:
                # a folder's time changes with each name that comes or goes
                about = path.stat()
                found += [about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns]
            except OSError:
                found.append(None)
        return tuple(found)

    def close(self) -> None:
        """Let go of the file and of what was read from it. A closed store opens it again when it is used."""
        with self._lock:
            self._view = self._later = None
            self._loader = Loader(self.path)

    def ids(self) -> Sequence[str]:
        """List the ids of all networks, sorted: a column, of which strings are made as they are asked for."""
        return self._current().networks.ids

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of :meth:`columns` that some ids have, -1 for those that are not there."""
        return rows_of(self._current().networks.keys, ids)

    def entries(self, rows: Sequence[int] | None = None) -> Sequence[NetworkEntry]:
        """List all networks, sorted by id; or those in some rows of :meth:`columns`, without parsing the others."""
        view = self._current()
        return view.entries if rows is None else [table.entry(row) for table, row in map(view.networks.at, rows)]

    def describe(self, summarise: Callable[[Sequence[Description]], NDArray[Any]]) -> NDArray[Any]:
        """Summarise what the descriptions of all networks say, sorted by id, without an entry for each.

        Args:
            summarise: Returns a row for each of some networks, of their descriptions; called for some ten thousand at
                a time, and for none where the zoo is empty.

        Raises:
            ZooError: If a description is damaged.
        """
        networks = self._current().networks
        return networks.stack(lambda table: table.describe(summarise)) if networks else summarise(())

    def columns(self) -> NetworkColumns:
        """Read the numbers of all networks, sorted by id, straight from the files: no JSON is parsed.

        They are what :meth:`entries` say: each entry is compared with its row when it is read.

        Raises:
            ZooError: If a column is damaged.
        """
        return self._current().columns

    def best_trained_on(self, dataset_digest: str) -> NetworkEntry | None:
        """Find the network of the highest accuracy of those that were trained on a dataset; None if there is none.

        Of several the one with the smallest id; one of unknown accuracy does not count. The digest is looked for in the
        bytes of the descriptions, and only the description of the best is parsed.
        """
        view, text = self._current(), json.dumps(dataset_digest, ensure_ascii=False).encode()
        found: list[tuple[float, str, Networks, int]] = []
        for table in view.networks.tables:
            accuracy = table.numbers["accuracy"]
            rows = [row for row in table.rows_with(text).tolist() if np.isfinite(accuracy[row])]
            found += [(-float(accuracy[row]), table.name(row), table, row) for row in rows]
        for _, name, table, row in sorted(found, key=lambda each: each[:2]):
            # the text may be anywhere in a description, and a file of the journal may hold what does not count
            if view.networks.find(name) == (table, row) and (entry := table.entry(row)).source_digest == dataset_digest:
                return entry
        return None

    def entry(self, network_id: str) -> NetworkEntry:
        """Read one network's entry, without parsing the others.

        Raises:
            UnknownNameError: If there is no such network.
        """
        table, row = self._current().network(network_id)
        return table.entry(row)

    def fingerprint(self, network_id: str) -> Fingerprint | None:
        """Read one fingerprint; None if the zoo has none of that network.

        Raises:
            UnknownNameError: If there is no such network.
        """
        table, row = self._current().network(network_id)
        return table.fingerprint(row)

    def weights(self, network_id: str) -> bytes:
        """Read one network's weights in safetensors format, checked against their sha256.

        Raises:
            UnknownNameError: If there is no such network.
            ZooError: If the bytes are damaged.
        """
        # the snapshot may be older than the file that the bytes then come from: a shard of it may have been merged,
        # removed and followed by another network of the same id, whose weights must not pass for those of the first
        expected = self.network_digest(network_id)

        def read(view: View) -> bytes:
            table, row = view.network(network_id)
            if table.digest(row) != expected:
                raise UnknownNameError(f"network {network_id!r} was replaced by another since it was listed")
            return table.weights(row)

        return self.from_view(read)

    def weights_length(self, network_id: str) -> int:
        """Return the bytes of a network's weights, 0 if the zoo does not store them; they are not read.

        Raises:
            UnknownNameError: If there is no such network.
        """
        table, row = self._current().network(network_id)
        return int(table.lengths[row])

    def network_digest(self, network_id: str) -> str:
        """Return the content digest of one network as it was recorded when the network was added.

        Raises:
            UnknownNameError: If there is no such network.
        """
        table, row = self._current().network(network_id)
        return table.digest(row)

    def weights_sha256(self, network_id: str) -> str:
        """Return the sha256 of a network's weights as it was recorded when the network was added.

        Raises:
            UnknownNameError: If there is no such network.
        """
        table, row = self._current().network(network_id)
        return table.weights_sha256(row)

    def graphs(self) -> NDArray[np.float32]:
        """Read all graph statistics at once, (k, GRAPH_DIM); read-only.

        This and the next two are of the k networks that have a fingerprint (``columns().fingerprinted``), in the order
        of :meth:`entries`.
        """
        return self._current().stack("graph", (0, 0))

    def kernels(self) -> NDArray[np.float32]:
        """Read all similarity kernels, (k, n, n); a read-only view of the file once it is merged."""
        return self._current().stack("kernel", (0, 0, 0))

    def surprises(self) -> NDArray[np.float32]:
        """Read all surprises, (k, rows, n); a read-only view of the file once it is merged."""
        return self._current().stack("surprise", (0, 0, 0))

    def fingerprint_shapes(self) -> tuple[tuple[int, ...], ...] | None:
        """Return the shapes of :data:`~nns.types.FIXED_PARTS` in this zoo; None if it has no fingerprint."""
        tables = self._current().fingerprinted_tables
        return tuple(getattr(tables[0], name).shape[1:] for name in FIXED_PARTS) if tables else None

    def datasets(self) -> Sequence[DatasetRecord]:
        """Read all datasets, sorted by name; their arrays are read-only."""
        return tuple(record for record, _ in self._current().datasets)

    def spaces(self) -> Sequence[str]:
        """List the names of the fitted spaces."""
        return tuple(sorted(self._current().spaces))

    def space(self, name: str) -> SpaceRecord:
        """Read one fitted space.

        Raises:
            UnknownNameError: If there is no such space.
            ZooError: If it is damaged.
        """

        def read(view: View) -> SpaceRecord:
            if name not in view.spaces:
                raise UnknownNameError.among("space", name, view.spaces)
            return read_space(view.spaces[name].file, name)

        return self.from_view(read)

    def latencies(self, device: str) -> dict[str, float]:
        """Read measured latencies, network id to seconds, of one device."""
        return dict(self._current().latencies.get(device, {}))

    def devices(self) -> Sequence[str]:
        """List the devices that have measured latencies."""
        return tuple(sorted(self._current().latencies))

    def format_version(self) -> int:
        """Return the highest version of the format among the file and its journal; the plain one for an empty zoo."""
        return max((part.file.header.version for part in self._current().parts), default=PLAIN_VERSION)

    def digest(self) -> str:
        """Return the content digest: of networks, supernets, datasets and transfers, in whatever order written.

        It comes from the digests that were recorded when they were added; ``nns zoo verify`` computes them anew.
        """
        view = self._current()
        transfers = map(transfer_content_digest, view.transfers.values())
        return zoo_digest(view.networks.digests(), view.dataset_digests(), view.supernets.digests(), transfers)

    def sizes(self) -> Mapping[str, int]:
        """Count stored bytes by kind (:data:`SIZE_KINDS`), over the file and its journal."""
        kinds = dict.fromkeys(SIZE_KINDS, 0)
        for part in self._current().parts:
            for column in part.file.columns():
                kinds[_kind(column)] += part.file.nbytes(column)
        return kinds

    def supernets(self) -> Sequence[NetworkEntry]:
        """List the supernets, sorted by id."""
        return tuple(table.entry(row) for table, row in self._current().supernets.order)

    def supernet_digest(self, supernet_id: str) -> str:
        """Return the content digest of one supernet as it was recorded when the supernet was added.

        Raises:
            UnknownNameError: If there is no such supernet.
        """
        table, row = self._current().supernet(supernet_id)
        return table.digest(row)

    def supernet_weights(self, supernet_id: str) -> bytes:
        """Read one supernet's weights in safetensors format, checked against their sha256.

        Raises:
            UnknownNameError: If there is no such supernet.
            ZooError: If the bytes are damaged.
        """

        def read(view: View) -> bytes:
            table, row = view.supernet(supernet_id)
            return table.weights(row)

        return self.from_view(read)

    def transfers(self) -> Sequence[TransferRecord]:
        """Read all transfers, sorted by network, dataset digest and recipe."""
        return tuple(self._current().transfers.values())

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
        """Check every byte of the file and of each shard: one line for each that is not as it was written."""
        found = []
        for part in self._current().parts:
            with suppress(FileNotFoundError):  # merged since the snapshot: the next one shows it in the file
                if not part.file.sealed():
                    found.append(f"{part.file.path} is not as it was written (seal); restore it from a copy")
        return tuple(found)


def _kind(column: str) -> str:
    table, _, name = column.partition("/")
    if table in ("frames", "supernets"):
        return "weights" if name == "data" else "other"
    if table == "networks":
        return "fingerprints" if name in FINGERPRINT_PARTS else "other"
    return table if table in SIZE_KINDS else "other"
