"""A thin view of a store, with the conveniences that people and commands want."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nns.data.extractors import Extractor, extractor_of
from nns.errors import UnknownNameError
from nns.networks import Network, Supernet
from nns.plugins import Registry, installed_plugins
from nns.stores import HDF5Store
from nns.stores._records import unused_supernets
from nns.types import DatasetRecord, Garbage, Packing
from nns.zoo._sizes import WeightsBytes, disk_bytes, weights_bytes

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ZooInfo:
    """What is in a zoo, counted.

    Attributes:
        path: The file.
        format_version: Version of the format.
        digest: Content digest.
        networks: Number of networks.
        by_backend: Networks of each backend.
        by_dataset: Networks trained on each dataset.
        datasets: Names of the datasets whose query features are known.
        spaces: Names of the fitted spaces.
        devices: Devices with measured latencies.
        bytes: Bytes by kind: weights, fingerprints, datasets, transfers, spaces, other.
        packing: How the weights of networks and supernets are kept.
        supernets: Number of supernets.
        transfers: Number of transfers.
        transfer_datasets: Names of the datasets that they are to.
        file_bytes: Bytes of the zoo file.
        waiting: Files that wait in the journal for the next merge.
        waiting_bytes: Their bytes.
    """

    path: Path
    format_version: int
    digest: str
    networks: int
    by_backend: Mapping[str, int]
    by_dataset: Mapping[str, int]
    datasets: tuple[str, ...]
    spaces: tuple[str, ...]
    devices: tuple[str, ...]
    bytes: Mapping[str, int]
    packing: Packing
    supernets: int
    transfers: int
    transfer_datasets: tuple[str, ...]
    file_bytes: int
    waiting: int
    waiting_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of ``nns zoo info``."""
        packing = self.packing
        return {
            "path": str(self.path),
            "format_version": self.format_version,
            "digest": self.digest,
            "networks": self.networks,
            "by_backend": dict(self.by_backend),
            "by_dataset": dict(self.by_dataset),
            "supernets": self.supernets,
            "datasets": list(self.datasets),
            "transfers": self.transfers,
            "transfer_datasets": list(self.transfer_datasets),
            "spaces": list(self.spaces),
            "devices": list(self.devices),
            "bytes": dict(self.bytes),
            "weights": {
                "decoded": packing.decoded,
                "stored": packing.stored,
                "ratio": round(packing.ratio, 4),
                "codecs": {
                    name: {"frames": frames, "decoded": decoded, "stored": stored}
                    for name, (frames, decoded, stored) in packing.codecs.items()
                },
            },
            "file_bytes": self.file_bytes,
            "journal": {"files": self.waiting, "bytes": self.waiting_bytes},
        }


class Zoo:
    """Networks, datasets and spaces of one file.

    Args:
        path: The file.
        must_exist: Whether it has to be there; else it is made by the first thing that is written.
        registry: Plugins in place of the installed ones.
        offline: Whether weights that are elsewhere may not be fetched.

    Attributes:
        path: The file.
        offline: The same.
        store: What reads and writes its records.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        must_exist: bool = True,
        registry: Registry | None = None,
        offline: bool = False,
    ) -> None:
        """Open a zoo file.

        Raises:
            MissingZooError: If there is none and it must exist.
            ZooError: If it is damaged, of a newer version, or no zoo.
        """
        self.path = Path(path)
        self.store = HDF5Store(path, must_exist=must_exist)
        self.offline = offline
        self._registry = registry
        self._extractor: Extractor | None = None

    @property
    def registry(self) -> Registry:
        """The plugins that build and read what is in the zoo; the installed ones are loaded at first use."""
        if self._registry is None:
            self._registry = installed_plugins()
        return self._registry

    @property
    def extractor(self) -> Extractor:
        """The extractor that made the query features of the zoo's datasets; the default one where it has none.

        Raises:
            UsageError: If several made them.
        """
        chosen = extractor_of(self.store.datasets(), self.registry)
        # one is kept, since it reads its weights once; chosen anew each time, since the first dataset may come later
        if self._extractor is None or self._extractor.name != chosen.name:
            self._extractor = chosen
        return self._extractor

    def __len__(self) -> int:
        """Count the networks."""
        return len(self.store.ids())

    def resolve(self, beginning: str) -> str:
        """Complete an id from its beginning.

        Raises:
            UnknownNameError: If no network or more than one fits.
        """
        return _resolve(beginning, self.store.ids())

    def network(self, beginning: str) -> Network:
        """Find a network by its id or a unique beginning of it.

        Raises:
            UnknownNameError: If no network or more than one fits.
        """
        return Network(self.store.entry(self.resolve(beginning)), self)

    def networks(self) -> Sequence[Network]:
        """List the networks, sorted by id."""
        return [Network(entry, self) for entry in self.store.entries()]

    def supernets(self) -> Sequence[Supernet]:
        """List the supernets, sorted by id."""
        return [Supernet(entry, self) for entry in self.store.supernets()]

    def find(self, beginning: str) -> Network | Supernet:
        """Find a network or a supernet by its id or a unique beginning of it.

        Raises:
            UnknownNameError: If nothing or more than one thing fits.
        """
        supernets = {entry.id: entry for entry in self.store.supernets()}
        found = _resolve(beginning, sorted({*self.store.ids(), *supernets}))
        return Supernet(supernets[found], self) if found in supernets else Network(self.store.entry(found), self)

    def datasets(self) -> Sequence[DatasetRecord]:
        """Read all datasets, sorted by name."""
        return self.store.datasets()

    def spaces(self) -> Sequence[str]:
        """List the names of the fitted spaces."""
        return self.store.spaces()

    def weights_bytes(self, ids: Collection[str]) -> WeightsBytes:
        """Count what the weights of networks and supernets take in the file; unknown ids count nothing."""
        return weights_bytes(self.store, ids)

    def disk_bytes(self) -> int:
        """Count the bytes of the file and of what waits in its journal."""
        file_bytes, _, waiting_bytes = disk_bytes(self.store)
        return file_bytes + waiting_bytes

    def garbage(self, keep_supernets: bool = False) -> Garbage:
        """Count what a collection of garbage would remove; the bytes afterwards are not known before.

        Args:
            keep_supernets: As in ``HDF5Store.collect_garbage``.
        """
        ids = set(self.store.ids())
        supernets = [entry.id for entry in self.store.supernets()]
        measured = [name for device in self.store.devices() for name in self.store.latencies(device)]
        size = self.disk_bytes()
        return Garbage(
            supernets=() if keep_supernets else tuple(sorted(unused_supernets(supernets, self.store.entries()))),
            latencies=sum(name not in ids for name in measured),
            transfers=sum(record.network_id not in ids for record in self.store.transfers()),
            bytes_before=size,
            bytes_after=size,
        )

    def info(self) -> ZooInfo:
        """Count what is in the zoo."""
        entries, transfers = self.store.entries(), self.store.transfers()
        file_bytes, waiting, waiting_bytes = disk_bytes(self.store)
        return ZooInfo(
            path=self.path,
            format_version=self.store.format_version(),
            digest=self.store.digest(),
            networks=len(entries),
            by_backend=dict(sorted(Counter(entry.spec.backend for entry in entries).items())),
            by_dataset=dict(sorted(Counter(entry.source_dataset for entry in entries).items())),
            datasets=tuple(record.name for record in self.store.datasets()),
            spaces=tuple(self.store.spaces()),
            devices=tuple(self.store.devices()),
            bytes=self.store.sizes(),
            packing=self.store.packing(),
            supernets=len(self.store.supernets()),
            transfers=len(transfers),
            transfer_datasets=tuple(sorted({record.dataset for record in transfers})),
            file_bytes=file_bytes,
            waiting=waiting,
            waiting_bytes=waiting_bytes,
        )

    def close(self) -> None:
        """Let go of files."""
        self.store.close()

    def __enter__(self) -> Self:
        """Return the zoo itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the zoo."""
        self.close()


def _resolve(beginning: str, ids: Sequence[str]) -> str:
    """Return the only one of sorted ids that begins so; one that is named whole is meant whatever begins with it."""
    start = bisect_left(ids, beginning)
    fitting = ids[start : bisect_left(ids, beginning + "\x7f", start)] if beginning else ()
    if len(fitting) == 1 or (fitting and fitting[0] == beginning):
        return fitting[0]
    if fitting:
        listing = ", ".join(fitting[:6]) + (", …" if len(fitting) > 6 else "")
        raise UnknownNameError(f"network {beginning!r} may be any of {listing}; give more digits")
    raise UnknownNameError.among("network", beginning, ids)
