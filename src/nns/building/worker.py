"""Doing one work item in a process of its own: decode, train, count, fingerprint, store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.building.plan import BuildItem
from nns.data import Dataset, cached_arrays
from nns.networks import Origin, Supernet, describe_network, describe_supernet
from nns.plugins import installed_plugins
from nns.threads import set_threads
from nns.types import Preprocessing, Provenance, SplitArrays, SupernetRecord, Training
from nns.zoo import Zoo

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

    def open_zoo(self, registry: Registry | None = None) -> Zoo:
        """Open the zoo; without ``registry`` with the installed plugins, which a process loads once."""
        return Zoo(self.zoo, must_exist=False, registry=registry or installed_plugins(), offline=True)

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

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_threads(threads)


def run_item(place: Place, item: BuildItem, registry: Registry | None = None) -> ItemResult:
    """Train the networks of one item and add each to the zoo as soon as it is done.

    Args:
        place: Where the zoo and the decoded images are, and what to train on.
        item: The item.
        registry: Where the backend is; by default that of the installed plugins, loaded once a process.
    """
    started = time.perf_counter()
    backend = (registry or installed_plugins()).backend(item.work.backend)
    arrays = item.decode(place)
    with place.open_zoo(registry) as zoo:
        worker = _Worker(zoo, backend, item, arrays, place.device)
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

    def __init__(self, zoo: Zoo, backend: Backend, item: BuildItem, arrays: SplitArrays, device: str) -> None:
        self.device = device
        self.zoo, self.store = zoo, zoo.store
        self.backend, self.item, self.arrays = backend, item, arrays
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
                self.store.add_network(self._described(describe_network, identity, network, provenance))
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
        entry = next((each for each in self.store.supernets() if each.id == self.item.supernet_id), None)
        if entry is None:
            made = train_supernet(self.backend, work, self.arrays, self.item.seed, self.device)
            told = Provenance.of(made.provenance)
            record: SupernetRecord = self._described(describe_supernet, self.item.supernet_id, made, told)
            self.store.add_supernet(record)
            entry = record.entry
            self.images += (work.training.epochs or 1) * len(self.arrays.train)
        # from what was stored in either case, so that what is cut later comes out the same
        module = Supernet(entry, self.zoo).load()
        # a subnet was trained as its supernet was
        return (
            (network, replace(Provenance.of({**network.provenance, **entry.provenance.to_json()}), base=entry.id))
            for network in self.backend.cut(work, module, self.arrays)
        )

    def _described(self, describe: Callable[..., Any], identity: str, made: ProducedNetwork, told: Provenance) -> Any:
        """Return the record of a network or of a supernet, whichever ``describe`` makes."""
        preprocessing = self.backend.preprocessing(made.spec, self.item.work.image_size)
        more: dict[str, Any] = {"image_size": preprocessing.size, "images": len(self.arrays.train)}
        if self.half:
            more["weights"] = "fp16"
        told = replace(told, extra={**told.extra, **more})
        origin = Origin(identity, self.arrays.classes, self.item.dataset_name, self.item.dataset_digest)
        arguments = (self.backend, made.spec, made.module, preprocessing, origin, made.accuracy, told)
        return describe(*arguments, half=self.half)


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
        stop = self.stop_below
        self._last = train(module, data, preprocessing, recipe, seed=seed, stop_below=stop, keep_interrupted=False)
        return self._last.module, self._last.val_accuracy

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
