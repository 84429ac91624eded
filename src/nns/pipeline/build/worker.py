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
from nns.stores import HDF5Store
from nns.types import LabelledArrays, NetworkEntry, NetworkRecord, Preprocessing, SplitArrays

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend
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
    for network_id, network in zip(item.ids, produced, strict=True):
        if network_id in present:  # an interrupted run stored it already
            accuracies.append(network.accuracy)
            continue
        preprocessing = backend.preprocessing(network.spec, item.work.image_size)
        provenance = {**network.provenance, "image_size": preprocessing.size, "images": len(arrays.train)}
        entry_of = _Description(network_id, arrays.classes, item.dataset_name, item.dataset_digest)
        store.add_network(
            describe(backend, network.spec, network.module, preprocessing, entry_of, network.accuracy, provenance)
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
class _Description:
    id: str
    classes: tuple[str, ...]
    source_dataset: str
    source_digest: str


def describe(
    backend: Backend,
    spec: Any,
    module: nn.Module,
    preprocessing: Preprocessing,
    what: _Description,
    accuracy: float,
    provenance: Mapping[str, Any],
) -> NetworkRecord:
    """Count, fingerprint and serialise a trained network."""
    from safetensors.torch import save

    from nns.costs import count_cost
    from nns.fingerprints import fingerprint_network

    cost = count_cost(backend, module, preprocessing, len(what.classes))
    fingerprint = fingerprint_network(backend, spec, module, preprocessing, cost)
    state = {name: tensor.detach().contiguous().clone() for name, tensor in module.state_dict().items()}
    entry = NetworkEntry(
        id=what.id,
        spec=spec,
        cost=cost,
        preprocessing=preprocessing,
        classes=what.classes,
        source_dataset=what.source_dataset,
        source_digest=what.source_digest,
        accuracy=accuracy,
        license=backend.license(spec),
        provenance=dict(provenance),
    )
    return NetworkRecord(entry, fingerprint, save(state))


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
