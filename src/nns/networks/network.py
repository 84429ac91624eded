"""A network of a zoo: what is known about it, and the network itself when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from nns.errors import NnsError, UnknownNameError
from nns.networks.fetching import remote_file
from nns.networks.latency import latencies
from nns.networks.origins import missing_backend
from nns.networks.weights import WeightsPlace, place_of, read_state
from nns.places import RemoteWeights, StoredWeights, Weights
from nns.types import ArchitectureSpec, Fingerprint, NetworkEntry, PartProgress, TransferRecord

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend
    from nns.plugins import Registry
    from nns.stores import HDF5Store


class Home(Protocol):
    """Where networks come from: a zoo, of which they need the records and the plugins."""

    @property
    def store(self) -> HDF5Store:
        """Reads entries, fingerprints and stored weights."""

    @property
    def registry(self) -> Registry:
        """Has the backends, loaded when the first is asked for."""

    @property
    def offline(self) -> bool:
        """Whether nothing may be fetched."""


def is_installed(zoo: Home) -> bool:
    """Tell whether a zoo is an installed plugin's: its author answers for it, and its file is not ours to write."""
    try:
        return zoo.registry.default_zoo().samefile(zoo.store.path)
    except (NnsError, OSError):
        return False


class _FromZoo:
    """What networks and supernets have in common."""

    def __init__(self, entry: NetworkEntry, home: Home) -> None:
        """Remember the entry; nothing is read."""
        self.entry = entry
        self._home = home

    @property
    def id(self) -> str:
        """Its id in the zoo."""
        return self.entry.id

    @property
    def spec(self) -> ArchitectureSpec:
        """Its architecture."""
        return self.entry.spec

    @property
    def backend(self) -> Backend:
        """The backend that builds it.

        Raises:
            UnknownNameError: If that is not installed.
        """
        registry = self._home.registry
        if missing := missing_backend(self.entry, registry):
            raise UnknownNameError(f"{self.id[:10]} ({self.spec.name:.80}) needs {missing}{registry.failed()}")
        return registry.backend(self.spec.backend)

    def __repr__(self) -> str:
        entry, name = self.entry, type(self).__name__
        return f"<{name} {entry.id}: {entry.spec.backend}:{entry.spec.name}, trained on {entry.source_dataset}>"


class Network(_FromZoo):
    """A network of a zoo.

    Args:
        entry: What the zoo says of it.
        home: The zoo.

    Attributes:
        entry: The same.
    """

    @property
    def fingerprint(self) -> Fingerprint | None:
        """What a space sees of it; None if its weights are elsewhere and were not here yet."""
        return self._home.store.fingerprint(self.id)

    @property
    def transfers(self) -> tuple[TransferRecord, ...]:
        """How well it did after fine-tuning on other datasets."""
        return tuple(record for record in self._home.store.transfers() if record.network_id == self.id)

    @property
    def place(self) -> WeightsPlace:
        """Where its weights are, and whether on this disk: by name and size, unread. Nothing connects."""
        return place_of(self.entry, self._home.store, lambda: self.backend)

    @property
    def weights_name(self) -> str:
        """A name that two networks share if they are the same architecture with the same weights."""
        place = self.entry.weights
        if isinstance(place, StoredWeights):
            weights = self._home.store.weights_sha256(self.id)
        else:
            weights = place.sha256 or repr(place)
        return f"{self.spec.backend}:{self.spec.name}:{weights}"

    @property
    def offline(self) -> bool:
        """Whether nothing may be fetched for it."""
        from nns.networks.hub import is_offline

        return self._home.offline or is_offline()

    @property
    def on_disk(self) -> bool:
        """Whether its weights are on this disk. Nothing connects."""
        return self.place.on_disk

    def fetch(self, progress: PartProgress | None = None, tell: Callable[[str], None] | None = None) -> None:
        """Bring its weights onto this disk, if they are elsewhere.

        Args:
            progress: Called with bytes that are here and bytes in all.
            tell: Called with revision and digest where nobody had said them before.

        Raises:
            WeightsError: If they cannot be had: offline, refused, not there, or other bytes than are meant.
        """
        if isinstance(self.entry.weights, RemoteWeights):
            remote = remote_file(self.entry.weights, self.spec.backend, lambda: self.backend)
            remote.fetch(self._home.offline, progress, tell)

    def known_weights(self) -> Weights:
        """Return where its weights are with all that is known of them here: revision, size and digest."""
        if not isinstance(self.entry.weights, RemoteWeights):
            return self.entry.weights
        found: Weights = remote_file(self.entry.weights, self.spec.backend, lambda: self.backend).pinned()
        return found

    def load(self, classes: int | None = None, seed: int = 0) -> nn.Module:
        """Build the network with its weights, in eval mode on the CPU; they are fetched if they are elsewhere.

        Args:
            classes: Width of a fresh head; None: its own head.
            seed: Of the fresh head's weights.

        Raises:
            UnknownNameError: If its backend is not installed.
            WeightsError: If its weights are not at hand, or do not fit.
            ZooError: If they are damaged.
        """
        backend, entry = self.backend, self.entry
        state = read_state(entry, self._home.store, backend, offline=self._home.offline)
        module = backend.load(entry.spec, state, len(entry.classes)).eval()
        return module if classes is None else backend.replace_head(module, classes, seed)

    def latency(self, device: str = "cpu") -> float:
        """Return seconds of one image (batch 1) on this machine; the zoo keeps what is measured."""
        return latencies(self._home, [self.id], device)[self.id]


class Supernet(_FromZoo):
    """A supernet of a zoo, which subnets are cut from; see :class:`Network`."""

    def load(self) -> nn.Module:
        """Build the supernet with its weights, in eval mode on the CPU.

        Raises:
            UnknownNameError: If its backend is not installed.
            ZooError: If its weights are damaged.
        """
        backend, entry = self.backend, self.entry
        state = read_state(entry, self._home.store, backend, supernet=True)
        return backend.load_supernet(entry.spec, state, len(entry.classes))
