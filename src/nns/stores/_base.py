"""The contract of a store: where the networks of a zoo are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nns.errors import UnknownNameError, ZooError
from nns.types import (
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

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

SIZE_KINDS = ("weights", "fingerprints", "datasets", "transfers", "spaces", "other")
"""Kinds of stored bytes that :meth:`Store.sizes` tells apart."""


class Store(ABC):
    """Networks, datasets and spaces by key. Reading is lazy: listing never touches weights.

    ``add_*`` returns once the record is safe: another process, or this one after a crash, will see it.
    Adding what is there already (same id, same content) changes nothing. A store must pass
    :class:`nns.testing.StoreContract`.

    What a store shows is a snapshot: it changes with the store's own writes and at :meth:`refresh`, never
    between two reads, so rows of :meth:`graphs` and :meth:`entries` belong together. Arrays that come out
    may be read-only views of the file; copy what is to be changed. A store may be used from several
    threads, after a fork, and may be pickled.
    """

    @abstractmethod
    def entries(self) -> Sequence[NetworkEntry]:
        """List all networks, sorted by id."""

    @abstractmethod
    def fingerprint(self, network_id: str) -> Fingerprint:
        """Read one fingerprint.

        Raises:
            UnknownNameError: If there is no such network.
        """

    @abstractmethod
    def weights(self, network_id: str) -> bytes:
        """Read one network's weights in safetensors format, checked against their sha256.

        Raises:
            UnknownNameError: If there is no such network.
            ZooError: If the bytes are damaged.
        """

    @abstractmethod
    def graphs(self) -> NDArray[np.float32]:
        """Read all graph statistics at once, (networks, GRAPH_DIM), in the order of :meth:`entries`."""

    @abstractmethod
    def kernels(self) -> NDArray[np.float32]:
        """Read all similarity kernels at once, (networks, n, n), in the order of :meth:`entries`."""

    @abstractmethod
    def surprises(self) -> NDArray[np.float32]:
        """Read all surprises at once, (networks, rows, n), in the order of :meth:`entries`."""

    @abstractmethod
    def datasets(self) -> Sequence[DatasetRecord]:
        """Read all datasets, sorted by name."""

    @abstractmethod
    def spaces(self) -> Sequence[str]:
        """List the names of the fitted spaces."""

    @abstractmethod
    def space(self, name: str) -> SpaceRecord:
        """Read one fitted space.

        Raises:
            UnknownNameError: If there is no such space.
        """

    @abstractmethod
    def supernets(self) -> Sequence[NetworkEntry]:
        """List the supernets, sorted by id."""

    @abstractmethod
    def supernet_weights(self, supernet_id: str) -> bytes:
        """Read one supernet's weights in safetensors format, checked against their sha256.

        Raises:
            UnknownNameError: If there is no such supernet.
            ZooError: If the bytes are damaged.
        """

    @abstractmethod
    def supernet_digest(self, supernet_id: str) -> str:
        """Return the content digest of one supernet as it was recorded when the supernet was added.

        Raises:
            UnknownNameError: If there is no such supernet.
        """

    @abstractmethod
    def transfers(self) -> Sequence[TransferRecord]:
        """Read all transfers, sorted by network, dataset digest and recipe."""

    @abstractmethod
    def latencies(self, device: str) -> dict[str, float]:
        """Read measured latencies, network id to seconds, of one device."""

    @abstractmethod
    def add_network(self, record: NetworkRecord) -> None:
        """Add a network.

        Raises:
            ZooError: If another network has that id.
        """

    @abstractmethod
    def add_supernet(self, record: SupernetRecord) -> None:
        """Add a supernet.

        A network whose provenance names it as ``"base"`` takes little space beside it.

        Raises:
            ZooError: If another supernet has that id.
        """

    @abstractmethod
    def put_transfers(self, records: Sequence[TransferRecord]) -> None:
        """Write transfers, in place of older ones of the same network, dataset and recipe."""

    @abstractmethod
    def remove(self, ids: Collection[str]) -> None:
        """Remove networks and supernets for good; what is left stays as it is. Waits for a merge.

        Measured latencies and transfers of what is removed stay until :meth:`collect_garbage`.

        Raises:
            UnknownNameError: If one is not there; then nothing is removed.
        """

    @abstractmethod
    def collect_garbage(self) -> Garbage:
        """Remove what nothing refers to, and store the rest in the least space. The networks stay the same."""

    @abstractmethod
    def packing(self) -> Packing:
        """Count the bytes of weights, as they are kept and as they are."""

    @abstractmethod
    def damage(self) -> Sequence[str]:
        """Check the files as a whole, every byte: one line for each that is not as it was written."""

    @abstractmethod
    def add_dataset(self, record: DatasetRecord) -> None:
        """Add a dataset's query features; one of the same digest and extractor is left as it is."""

    @abstractmethod
    def put_space(self, record: SpaceRecord) -> None:
        """Write a fitted space, in place of one of the same name."""

    @abstractmethod
    def put_latencies(self, records: Sequence[LatencyRecord]) -> None:
        """Write measured latencies, in place of older ones of the same network and device."""

    @abstractmethod
    def digest(self) -> str:
        """Return the content digest: of networks, supernets, datasets and transfers, in whatever order written."""

    @abstractmethod
    def network_digest(self, network_id: str) -> str:
        """Return the content digest of one network as it was recorded when the network was added.

        Raises:
            UnknownNameError: If there is no such network.
        """

    @abstractmethod
    def weights_sha256(self, network_id: str) -> str:
        """Return the sha256 of a network's weights as it was recorded when the network was added.

        Raises:
            UnknownNameError: If there is no such network.
        """

    @abstractmethod
    def devices(self) -> Sequence[str]:
        """List the devices that have measured latencies, sorted."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Count stored bytes by kind: :data:`SIZE_KINDS`."""

    def add_networks(self, records: Iterable[NetworkRecord]) -> None:
        """Add many networks at once; safe when it returns, and faster than one by one.

        Raises:
            ZooError: If another network has the id of one of them. Those before it may have been added.
        """
        for record in records:
            self.add_network(record)

    def absorb(self, other: Store) -> None:
        """Add the networks, supernets, datasets and transfers of another store.

        Spaces and latencies stay behind: they belong to the zoo they were fitted and measured with.

        Raises:
            ZooError: If a network has the id of one that is here, and other content. Then nothing is added.
        """
        mine, theirs = set(self.ids()), other.ids()
        for network_id in theirs:
            if network_id in mine and self.network_digest(network_id) != other.network_digest(network_id):
                raise ZooError(f"network {network_id!r} is in the zoo already, with other content")
        for entry in other.supernets():
            self.add_supernet(SupernetRecord(entry, other.supernet_weights(entry.id)))
        self.add_networks(
            NetworkRecord(other.entry(network_id), other.fingerprint(network_id), other.weights(network_id))
            for network_id in theirs
            if network_id not in mine
        )
        for dataset in other.datasets():
            self.add_dataset(dataset)
        self.put_transfers(other.transfers())

    def ids(self) -> Sequence[str]:
        """List the ids of all networks, in the order of :meth:`entries`."""
        return tuple(entry.id for entry in self.entries())

    def columns(self) -> NetworkColumns:
        """Read the numbers of all networks, sorted by id."""
        entries = self.entries()
        costs = [entry.cost for entry in entries]
        names = ("body_params", "body_macs", "body_bytes", "feature_dim")
        columns: dict[str, Any] = {name: np.array([getattr(c, name) for c in costs], np.int64) for name in names}
        columns["classes"] = np.array([len(entry.classes) for entry in entries], np.int64)
        columns["accuracy"] = np.array([entry.accuracy for entry in entries], np.float64)
        return NetworkColumns(np.array([entry.id.encode() for entry in entries], "S64"), **columns)

    def entry(self, network_id: str) -> NetworkEntry:
        """Read one network's entry.

        Raises:
            UnknownNameError: If there is no such network.
        """
        for entry in self.entries():
            if entry.id == network_id:
                return entry
        raise UnknownNameError.among("network", network_id, self.ids())

    def refresh(self) -> None:
        """Take a new snapshot, so that what others have written since is seen."""

    def merge(self) -> None:
        """Bring what is stored into its compact form, if the store has one. The content stays the same."""

    def close(self) -> None:
        """Let go of files. A closed store opens them again when it is used."""

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()
