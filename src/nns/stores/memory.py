"""A store in memory, for tests and for zoos that are made and used in one process."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nns.errors import UnknownNameError, ZooError
from nns.stores._base import Store
from nns.stores._digest import (
    dataset_content_digest,
    network_content_digest,
    supernet_content_digest,
    transfer_content_digest,
    transfer_key,
    zoo_digest,
)
from nns.stores._records import (
    check_latencies,
    fixed_shapes,
    normal_dataset,
    normal_entry,
    normal_network,
    normal_space,
    normal_transfer,
    unused_supernets,
)
from nns.types import (
    FINGERPRINT_PARTS,
    DatasetRecord,
    Fingerprint,
    Garbage,
    LatencyRecord,
    NetworkEntry,
    NetworkRecord,
    Packing,
    SpaceRecord,
    SupernetRecord,
    TransferRecord,
)


class MemoryStore(Store):
    """Keeps everything in dictionaries; what goes in comes out as a file would give it back."""

    def __init__(self) -> None:
        """Make an empty store."""
        self._networks: dict[str, NetworkRecord] = {}
        self._digests: dict[str, str] = {}
        self._datasets: dict[tuple[str, str, str], DatasetRecord] = {}
        self._spaces: dict[str, SpaceRecord] = {}
        self._latencies: dict[str, dict[str, float]] = {}
        self._supernets: dict[str, SupernetRecord] = {}
        self._transfers: dict[tuple[str, str, bytes], TransferRecord] = {}

    def _sorted(self) -> list[NetworkRecord]:
        return [self._networks[network_id] for network_id in sorted(self._networks)]

    def _network(self, network_id: str) -> NetworkRecord:
        if network_id not in self._networks:
            raise UnknownNameError.among("network", network_id, self._networks)
        return self._networks[network_id]

    def entries(self) -> Sequence[NetworkEntry]:
        """List all networks, sorted by id."""
        return tuple(record.entry for record in self._sorted())

    def entry(self, network_id: str) -> NetworkEntry:
        """Read one network's entry."""
        return self._network(network_id).entry

    def fingerprint(self, network_id: str) -> Fingerprint:
        """Read one fingerprint."""
        return self._network(network_id).fingerprint

    def weights(self, network_id: str) -> bytes:
        """Read one network's weights in safetensors format."""
        return self._network(network_id).weights

    def network_digest(self, network_id: str) -> str:
        """Return the content digest of one network."""
        self._network(network_id)
        return self._digests[network_id]

    def weights_sha256(self, network_id: str) -> str:
        """Return the sha256 of a network's weights."""
        return hashlib.sha256(self._network(network_id).weights).hexdigest()

    def graphs(self) -> NDArray[np.float32]:
        """Read all graph statistics, (networks, GRAPH_DIM)."""
        rows = [record.fingerprint.graph for record in self._sorted()]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def kernels(self) -> NDArray[np.float32]:
        """Read all similarity kernels, (networks, n, n)."""
        rows = [record.fingerprint.kernel for record in self._sorted()]
        return np.stack(rows) if rows else np.zeros((0, 0, 0), np.float32)

    def surprises(self) -> NDArray[np.float32]:
        """Read all surprises, (networks, rows, n)."""
        rows = [record.fingerprint.surprise for record in self._sorted()]
        return np.stack(rows) if rows else np.zeros((0, 0, 0), np.float32)

    def datasets(self) -> Sequence[DatasetRecord]:
        """Read all datasets, sorted by name."""
        return tuple(self._datasets[key] for key in sorted(self._datasets))

    def spaces(self) -> Sequence[str]:
        """List the names of the fitted spaces."""
        return tuple(sorted(self._spaces))

    def space(self, name: str) -> SpaceRecord:
        """Read one fitted space."""
        if name not in self._spaces:
            raise UnknownNameError.among("space", name, self._spaces)
        return self._spaces[name]

    def latencies(self, device: str) -> dict[str, float]:
        """Read measured latencies of one device."""
        return dict(self._latencies.get(device, {}))

    def devices(self) -> Sequence[str]:
        """List the devices that have measured latencies."""
        return tuple(sorted(self._latencies))

    def add_network(self, record: NetworkRecord) -> None:
        """Add a network."""
        normal, _ = normal_network(record)
        network_id = normal.entry.id
        digest = network_content_digest(normal.entry, normal.fingerprint, hashlib.sha256(normal.weights).hexdigest())
        if network_id in self._networks:
            if self._digests[network_id] != digest:
                raise ZooError(f"network {network_id!r} is in the zoo already, with other content")
            return
        for other in list(self._networks.values())[:1]:
            shapes = [fixed_shapes(each) for each in (other.fingerprint, normal.fingerprint)]
            if shapes[0] != shapes[1]:
                raise ZooError(f"network {network_id!r}: fingerprint shapes {shapes[1]}, the zoo has {shapes[0]}")
        self._networks[network_id], self._digests[network_id] = normal, digest

    def supernets(self) -> Sequence[NetworkEntry]:
        """List the supernets, sorted by id."""
        return tuple(self._supernets[name].entry for name in sorted(self._supernets))

    def supernet_weights(self, supernet_id: str) -> bytes:
        """Read one supernet's weights in safetensors format."""
        if supernet_id not in self._supernets:
            raise UnknownNameError.among("supernet", supernet_id, self._supernets)
        return self._supernets[supernet_id].weights

    def supernet_digest(self, supernet_id: str) -> str:
        """Return the content digest of one supernet."""
        self.supernet_weights(supernet_id)
        return _supernet_digest(self._supernets[supernet_id])

    def add_supernet(self, record: SupernetRecord) -> None:
        """Add a supernet."""
        normal = SupernetRecord(normal_entry(record.entry)[0], bytes(record.weights))
        old = self._supernets.setdefault(normal.entry.id, normal)
        if _supernet_digest(old) != _supernet_digest(normal):
            raise ZooError(f"supernet {normal.entry.id!r} is in the zoo already, with other content")

    def transfers(self) -> Sequence[TransferRecord]:
        """Read all transfers, sorted by network, dataset digest and recipe."""
        return tuple(self._transfers[key] for key in sorted(self._transfers))

    def put_transfers(self, records: Sequence[TransferRecord]) -> None:
        """Write transfers."""
        normal = [normal_transfer(record)[0] for record in records]
        self._transfers.update({transfer_key(record): record for record in normal})

    def remove(self, ids: Collection[str]) -> None:
        """Remove networks and supernets."""
        known = [*self._networks, *self._supernets]
        for name in ids:
            if name not in known:
                raise UnknownNameError.among("network", name, known)
        for name in ids:
            self._networks.pop(name, None)
            self._digests.pop(name, None)
            self._supernets.pop(name, None)

    def collect_garbage(self) -> Garbage:
        """Remove supernets, latencies and transfers of networks that are gone."""
        before = sum(self.sizes().values())
        unused = sorted(unused_supernets(self._supernets, [record.entry for record in self._networks.values()]))
        for name in unused:
            del self._supernets[name]
        transfers = [key for key in self._transfers if key[0] not in self._networks]
        for key in transfers:
            del self._transfers[key]
        latencies = 0
        for device, values in list(self._latencies.items()):
            kept = {name: seconds for name, seconds in values.items() if name in self._networks}
            latencies += len(values) - len(kept)
            self._latencies[device] = kept
            if not kept:
                del self._latencies[device]
        return Garbage(tuple(unused), latencies, len(transfers), (), before, sum(self.sizes().values()))

    def packing(self) -> Packing:
        """Count the bytes of weights, which are kept as they are."""
        sizes = [len(weights) for weights in self._weights()]
        return Packing(sum(sizes), sum(sizes), {"raw": (len(sizes), sum(sizes), sum(sizes))} if sizes else {})

    def _weights(self) -> list[bytes]:
        networks = [record.weights for record in self._networks.values()]
        return networks + [record.weights for record in self._supernets.values()]

    def damage(self) -> Sequence[str]:
        """Nothing to check: there is no file."""
        return ()

    def add_dataset(self, record: DatasetRecord) -> None:
        """Add a dataset's query features."""
        normal, _ = normal_dataset(record)
        if all((old.digest, old.extractor) != (normal.digest, normal.extractor) for old in self._datasets.values()):
            self._datasets[normal.name, normal.digest, normal.extractor] = normal

    def put_space(self, record: SpaceRecord) -> None:
        """Write a fitted space."""
        self._spaces[record.name] = normal_space(record)

    def put_latencies(self, records: Sequence[LatencyRecord]) -> None:
        """Write measured latencies."""
        check_latencies(records)
        for record in records:
            self._latencies.setdefault(record.device, {})[record.network_id] = float(record.seconds)

    def digest(self) -> str:
        """Return the content digest of the zoo."""
        return zoo_digest(
            self._digests.values(),
            map(dataset_content_digest, self._datasets.values()),
            map(_supernet_digest, self._supernets.values()),
            map(transfer_content_digest, self._transfers.values()),
        )

    def sizes(self) -> Mapping[str, int]:
        """Count bytes by kind."""
        prints = [record.fingerprint for record in self._networks.values()]
        arrays = [getattr(each, name) for each in prints for name in FINGERPRINT_PARTS]
        transfers = (normal_transfer(record)[1] for record in self._transfers.values())
        return {
            "weights": sum(map(len, self._weights())),
            "fingerprints": sum(array.nbytes for array in arrays),
            "datasets": sum(each.features.nbytes + each.labels.nbytes for each in self._datasets.values()),
            "transfers": sum(map(len, transfers)),
            "spaces": sum(len(each.tensors) + each.embeddings.nbytes for each in self._spaces.values()),
            "other": 0,
        }


def _supernet_digest(record: SupernetRecord) -> str:
    return supernet_content_digest(record.entry, hashlib.sha256(record.weights).hexdigest())
