"""Doing one work item in a process of its own: decode, train, count, fingerprint, store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from nns.building.plan import BuildItem
from nns.data import Dataset, cached_arrays
from nns.plugins import installed_plugins
from nns.stores import HDF5Store
from nns.types import (
    ArchitectureSpec,
    NetworkCost,
    NetworkEntry,
    NetworkRecord,
    Preprocessing,
    Provenance,
    SplitArrays,
    SupernetRecord,
    Training,
)

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend, ProducedNetwork, WorkItem
    from nns.finetuning.training import TrainingResult
    from nns.plugins import Registry


@dataclass(frozen=True)
class Place:
    """What is the same for all items of a build.

    Attributes:
        zoo: Path of the zoo file, the same for all workers.
        images: Folder of decoded images.
        device: What to train on.
    """

    zoo: str
    images: str
    device: str = "cpu"

    def arrays(self, data: Dataset, size: int, seed: int, max_images: int | None) -> SplitArrays:
        """Return the decoded splits of a dataset, shared with other processes."""
        return cached_arrays(Path(self.images), data, size, seed, max_images)


@dataclass(frozen=True)
class ItemResult:
    """What became of a work item.

    Attributes:
        dataset: Name of the dataset.
        backend: Name of the backend.
        ids: Of all its networks.
        accuracies: Of all its networks.
        added: Networks that were not in the zoo yet.
        images: Images trained on, epochs counted.
        seconds: Wall-clock time.
    """

    dataset: str
    backend: str
    ids: tuple[str, ...]
    accuracies: tuple[float, ...]
    added: int
    images: int
    seconds: float


def start_worker(threads: int) -> None:
    """Prepare a worker process: a fixed number of threads, interrupts left to the parent."""
    import signal

    import torch
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def run_item(place: Place, item: BuildItem, registry: Registry | None = None) -> ItemResult:
    """Train the networks of one item and add each to the zoo as soon as it is done.

    Args:
        place: Where the zoo and the decoded images are, and what to train on.
        item: The item.
        registry: Where the backend is; by default that of the installed plugins, loaded once a process.
    """
    started = time.perf_counter()
    backend = (registry or installed_plugins()).backend(item.work.backend)
    arrays = place.arrays(item.data, item.work.image_size, item.data_seed, item.max_images)
    with HDF5Store(Path(place.zoo)) as store:
        worker = _Worker(store, backend, item, arrays, place.device)
        accuracies = worker.run()
    return ItemResult(
        dataset=item.dataset_name,
        backend=item.work.backend,
        ids=item.ids,
        accuracies=accuracies,
        added=worker.added,
        images=worker.images,
        seconds=time.perf_counter() - started,
    )


class _Worker:
    """Does one item."""

    def __init__(self, store: HDF5Store, backend: Backend, item: BuildItem, arrays: SplitArrays, device: str) -> None:
        self.device = device
        self.store, self.backend, self.item, self.arrays = store, backend, item, arrays
        self.half = item.weights == "fp16"
        self.added = self.images = 0

    def run(self) -> tuple[float, ...]:
        """Do what is not in the zoo yet, and give the accuracies of all."""
        present = set(self.store.ids())
        work = self.item.work
        wanted = [(each, spec) for each, spec in zip(self.item.ids, work.specs, strict=True) if each not in present]
        if wanted:
            work = replace(work, specs=tuple(spec for _, spec in wanted))
            produced = self._cut(work) if work.supernet is not None else self._trained(work)
            for (identity, _), (network, provenance) in zip(wanted, produced, strict=True):
                self._add(identity, network, provenance)
                self.added += 1
        self.store.refresh()
        return tuple(self.store.entry(identity).accuracy for identity in self.item.ids)

    def _trained(self, work: WorkItem) -> Iterator[tuple[ProducedNetwork, Provenance]]:
        trainer = CurveTrainer(self.item.stop_below, self.device)
        for network in self.backend.produce(work, self.arrays, trainer, self.item.seed):
            provenance = trainer.add_curve(Provenance.of(network.provenance))
            epochs = provenance.trained_epochs
            self.images += ((work.training.epochs or 1) if epochs is None else epochs) * len(self.arrays.train)
            yield network, provenance

    def _cut(self, work: WorkItem) -> Iterator[tuple[ProducedNetwork, Provenance]]:
        from safetensors.torch import load

        entry = next((each for each in self.store.supernets() if each.id == self.item.supernet_id), None)
        if entry is None:
            entry = self._add_supernet(train_supernet(self.backend, work, self.arrays, self.item.seed, self.device))
            self.images += (work.training.epochs or 1) * len(self.arrays.train)
        # from what was stored in either case, so that what is cut later comes out the same
        state = load(self.store.supernet_weights(entry.id))
        module = self.backend.load_supernet(entry.spec, state, len(self.arrays.classes))
        # a subnet was trained as its supernet was
        return (
            (network, replace(Provenance.of({**network.provenance, **entry.provenance.to_json()}), base=entry.id))
            for network in self.backend.cut(work, module, self.arrays)
        )

    def _add_supernet(self, supernet: ProducedNetwork) -> NetworkEntry:
        from nns.networks.costs import count_cost

        preprocessing = self.backend.preprocessing(supernet.spec, self.item.work.image_size)
        weights = serialise(supernet.module, self.half)
        cost = count_cost(self.backend, supernet.module, preprocessing, len(self.arrays.classes))
        provenance = self._described(Provenance.of(supernet.provenance), preprocessing)
        origin = self._origin(self.item.supernet_id)
        entry = _entry(self.backend, supernet.spec, cost, preprocessing, origin, supernet.accuracy, provenance)
        self.store.add_supernet(SupernetRecord(entry, weights))
        return entry

    def _add(self, identity: str, network: ProducedNetwork, provenance: Provenance) -> None:
        preprocessing = self.backend.preprocessing(network.spec, self.item.work.image_size)
        provenance = self._described(provenance, preprocessing)
        origin = self._origin(identity)
        module, accuracy = network.module, network.accuracy
        record = describe(self.backend, network.spec, module, preprocessing, origin, accuracy, provenance, self.half)
        self.store.add_network(record)

    def _origin(self, identity: str) -> Origin:
        return Origin(identity, self.arrays.classes, self.item.dataset_name, self.item.dataset_digest)

    def _described(self, provenance: Provenance, preprocessing: Preprocessing) -> Provenance:
        more = {"image_size": preprocessing.size, "images": len(self.arrays.train)}
        half = {"weights": "fp16"} if self.half else {}
        return replace(provenance, extra={**provenance.extra, **more, **half})


@dataclass(frozen=True)
class Origin:
    """What a network is called in the zoo, and what it was trained on.

    Attributes:
        id: Its id.
        classes: Names of the classes its head tells apart.
        source_dataset: Name of the dataset.
        source_digest: Content digest of the dataset, empty if unknown.
    """

    id: str
    classes: tuple[str, ...]
    source_dataset: str
    source_digest: str


def describe(
    backend: Backend,
    spec: ArchitectureSpec,
    module: nn.Module,
    preprocessing: Preprocessing,
    origin: Origin,
    accuracy: float,
    provenance: Provenance | None = None,
    half: bool = False,
) -> NetworkRecord:
    """Count, fingerprint and serialise a trained network; ``half`` rounds its weights to fp16 before, in place."""
    from nns.networks.costs import count_cost
    from nns.networks.fingerprints import fingerprint_network

    weights = serialise(module, half)
    cost = count_cost(backend, module, preprocessing, len(origin.classes))
    fingerprint = fingerprint_network(backend, spec, module, preprocessing, cost)
    entry = _entry(backend, spec, cost, preprocessing, origin, accuracy, provenance or Provenance())
    return NetworkRecord(entry, fingerprint, weights)


def _entry(
    backend: Backend,
    spec: ArchitectureSpec,
    cost: NetworkCost,
    preprocessing: Preprocessing,
    origin: Origin,
    accuracy: float,
    provenance: Provenance,
) -> NetworkEntry:
    return NetworkEntry(
        id=origin.id,
        spec=spec,
        cost=cost,
        preprocessing=preprocessing,
        classes=origin.classes,
        source_dataset=origin.source_dataset,
        source_digest=origin.source_digest,
        accuracy=accuracy,
        license=backend.license(spec),
        provenance=provenance,
    )


def serialise(module: nn.Module, half: bool = False) -> bytes:
    """Write a state dict as safetensors; ``half`` rounds the module's floats to fp16 first, in place.

    Numbers beyond the range of fp16 become its largest, so that no infinity enters a network.
    """
    import torch
    from safetensors.torch import save

    state = {}
    for name, tensor in module.state_dict().items():
        kept = tensor.detach().contiguous().clone()
        if half and kept.is_floating_point():
            limit = torch.finfo(torch.float16).max
            kept = kept.clamp(-limit, limit).half()
            tensor.copy_(kept)
        state[name] = kept
    return save(state)


class CurveTrainer:
    """Trains as nns fine-tunes, and remembers the learning curve.

    Args:
        stop_below: Epoch to validation accuracy: a network that has less then is not trained on.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where there is any.
    """

    def __init__(self, stop_below: Mapping[int, float] | None = None, device: str = "cpu") -> None:
        """Begin with nothing trained."""
        self.stop_below, self.device = dict(stop_below or {}), device
        self._last: TrainingResult | None = None

    def __call__(
        self, module: nn.Module, data: SplitArrays, preprocessing: Preprocessing, training: Training, seed: int
    ) -> tuple[nn.Module, float]:
        """Train a network.

        Raises:
            KeyboardInterrupt: After Ctrl-C; a network that is half trained must not enter a zoo.
        """
        from nns.finetuning.recipe import Recipe
        from nns.finetuning.training import train

        recipe = training.over(Recipe(device=self.device))
        result = train(module, data, preprocessing, recipe, seed=seed, stop_below=self.stop_below)
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        self._last = result
        return result.module, result.val_accuracy

    def add_curve(self, provenance: Provenance) -> Provenance:
        """Return a provenance with the learning curve of the last training, if there was one since the last call."""
        result, self._last = self._last, None
        if result is None:
            return provenance
        curve = tuple(round(epoch.val_accuracy, 6) for epoch in result.history)
        stopped = {"stopped": result.stopped} if result.stopped != "epochs" else {}
        extra = {**provenance.extra, **stopped}
        return replace(provenance, trained_epochs=len(curve), val_curve=curve, extra=extra)


def train_supernet(backend: Backend, work: WorkItem, data: SplitArrays, seed: int, device: str) -> ProducedNetwork:
    """Train a supernet on a device, or on the CPU if the backend, written for an older nns, knows of no other.

    Args:
        backend: The backend.
        work: The work of an item with a supernet.
        data: The dataset.
        seed: Of weights and batches.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where there is any.

    Raises:
        UsageError: If there is no such device.
    """
    from nns.finetuning.training import resolve_device

    where = resolve_device(device)
    if where == "cpu" or "device" not in signature(backend.train_supernet).parameters:
        return backend.train_supernet(work, data, seed)
    return backend.train_supernet(work, data, seed, device=where)


def train_network(
    module: nn.Module, data: SplitArrays, preprocessing: Preprocessing, training: Training, seed: int
) -> tuple[nn.Module, float]:
    """Train to the end, whatever happens, as :class:`CurveTrainer` does."""
    return CurveTrainer()(module, data, preprocessing, training, seed)
