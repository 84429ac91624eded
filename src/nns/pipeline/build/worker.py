"""Doing one work item in a process of its own: decode, train, count, fingerprint, store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.images import load_arrays, open_dataset
from nns.pipeline.build.plan import BuildItem
from nns.stores import HDF5Store, Store
from nns.types import (
    ArchitectureSpec,
    LabelledArrays,
    NetworkCost,
    NetworkEntry,
    NetworkRecord,
    Preprocessing,
    SplitArrays,
    SupernetRecord,
)
from nns.zoo import network_id

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend, ProducedSupernet
    from nns.plugins import Registry


@dataclass(frozen=True)
class ItemResult:
    """What became of a work item.

    Attributes:
        dataset: Name of the dataset.
        backend: Name of the backend.
        accuracies: Of all its networks.
        added: Networks that were not in the zoo yet.
        images: Images trained on, epochs counted.
        seconds: Wall-clock time.
    """

    dataset: str
    backend: str
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
    threadpool_limits(threads)  # numpy's own threads, for the fingerprints


@lru_cache(maxsize=1)
def _registry() -> Registry:
    from nns.plugins import load_plugins

    return load_plugins()


@lru_cache(maxsize=2)
def _arrays(data: str, digest: str, size: int, seed: int, max_images: int | None) -> SplitArrays:
    arrays, _ = load_arrays(open_dataset(data), size, seed=seed, workers=1, test=0.0)
    if max_images is None or len(arrays.train) <= max_images:
        return arrays
    kept = _by_class(arrays.train.labels, max_images, seed)
    train = LabelledArrays(arrays.train.images[kept], arrays.train.labels[kept])
    return SplitArrays(arrays.name, arrays.classes, train, arrays.val, arrays.test)


def _by_class(labels: np.ndarray[Any, np.dtype[np.int64]], limit: int, seed: int) -> np.ndarray[Any, Any]:
    """Draw ``limit`` indices, as evenly over the classes as they allow."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turn[members] = np.arange(len(members))
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.sort(order[:limit])


def run_item(
    zoo: str, item: BuildItem, build_seed: int, max_images: int | None, registry: Registry | None = None
) -> ItemResult:
    """Train the networks of one item and add each to the zoo as soon as it is done.

    Args:
        zoo: Path of the zoo file.
        item: The item.
        build_seed: Of the splits and of the images that are drawn.
        max_images: Training images at most.
        registry: Where the backend is; by default that of the installed plugins, loaded once a process.
    """
    started = time.perf_counter()
    backend = (registry or _registry()).backend(item.work.backend)
    store = HDF5Store(Path(zoo))
    arrays = _arrays(item.data, item.dataset_digest, item.work.image_size, build_seed, max_images)
    accuracies = []
    added = 0
    produced = backend.produce(item.work, arrays, train_network, item.seed)
    present = set(store.ids())
    supernet: ProducedSupernet | None = None
    base = ""
    for identity, network in zip(item.ids, produced, strict=True):
        if identity in present:  # an interrupted run stored it already
            accuracies.append(network.accuracy)
            continue
        preprocessing = backend.preprocessing(network.spec, item.work.image_size)
        common: dict[str, Any] = {"image_size": preprocessing.size, "images": len(arrays.train)}
        half = item.recipe.get("weights") == "fp16"
        if half:
            common["weights"] = "fp16"
        if network.supernet is not None:
            if network.supernet is not supernet:
                supernet = network.supernet
                base = _add_supernet(store, backend, supernet, preprocessing, item, arrays.classes, common)
            common["base"] = base
        origin = Origin(identity, arrays.classes, item.dataset_name, item.dataset_digest)
        provenance = {**network.provenance, **common}
        store.add_network(
            describe(backend, network.spec, network.module, preprocessing, origin, network.accuracy, provenance, half)
        )
        accuracies.append(network.accuracy)
        added += 1
    store.close()
    return ItemResult(
        dataset=item.dataset_name,
        backend=item.work.backend,
        accuracies=tuple(accuracies),
        added=added,
        images=int(item.work.settings.get("epochs", 1)) * len(arrays.train),
        seconds=time.perf_counter() - started,
    )


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


def _add_supernet(
    store: Store,
    backend: Backend,
    supernet: ProducedSupernet,
    preprocessing: Preprocessing,
    item: BuildItem,
    classes: tuple[str, ...],
    common: Mapping[str, Any],
) -> str:
    from nns.costs import count_cost

    recipe = {**item.recipe, "supernet": True}
    identity = network_id(supernet.spec, item.dataset_digest, item.seed, recipe)
    origin = Origin(identity, classes, item.dataset_name, item.dataset_digest)
    cost = count_cost(backend, supernet.module, preprocessing, len(classes))
    provenance = {**supernet.provenance, **common}
    entry = _entry(backend, supernet.spec, cost, preprocessing, origin, supernet.accuracy, provenance)
    half = common.get("weights") == "fp16"
    store.add_supernet(SupernetRecord(entry, serialise(supernet.module, half)))
    return identity


def describe(
    backend: Backend,
    spec: ArchitectureSpec,
    module: nn.Module,
    preprocessing: Preprocessing,
    origin: Origin,
    accuracy: float,
    provenance: Mapping[str, Any],
    half: bool = False,
) -> NetworkRecord:
    """Count, fingerprint and serialise a trained network; ``half`` rounds its weights to fp16 before, in place."""
    from nns.costs import count_cost
    from nns.fingerprints import fingerprint_network

    weights = serialise(module, half)
    cost = count_cost(backend, module, preprocessing, len(origin.classes))
    fingerprint = fingerprint_network(backend, spec, module, preprocessing, cost)
    return NetworkRecord(_entry(backend, spec, cost, preprocessing, origin, accuracy, provenance), fingerprint, weights)


def _entry(
    backend: Backend,
    spec: ArchitectureSpec,
    cost: NetworkCost,
    preprocessing: Preprocessing,
    origin: Origin,
    accuracy: float,
    provenance: Mapping[str, Any],
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
        provenance=dict(provenance),
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


def train_network(
    module: nn.Module, data: SplitArrays, preprocessing: Preprocessing, settings: Mapping[str, Any]
) -> tuple[nn.Module, float]:
    """Train with the recipe that the settings describe; what they do not name is the default.

    Raises:
        KeyboardInterrupt: After Ctrl-C; a network that is half trained must not enter a zoo.
    """
    from nns.finetuning.recipe import Recipe
    from nns.finetuning.training import train

    known = {field.name for field in fields(Recipe)}
    recipe = Recipe(**{"device": "cpu", **{k: v for k, v in settings.items() if k in known}})
    result = train(module, data, preprocessing, recipe, seed=int(settings.get("seed", 0)))
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    return result.module, result.val_accuracy
