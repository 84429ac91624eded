"""Re-ranking the best candidates by a linear probe on the user's images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nns.data.cache import draw_by_class
from nns.errors import UsageError
from nns.searching.measuring import load_network
from nns.searching.probes import features_of, ridge_accuracy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.data import Dataset
    from nns.types import NetworkEntry
    from nns.zoo import Zoo

PROBED = 20
"""Candidates that are probed at most."""

PROBE_IMAGES = 256
"""Labelled images of the user at most, drawn by class."""

PROBE_SECONDS = 10.0
"""Seconds at most, unless the user says otherwise."""

PROBE_WEIGHT = 1.0
"""Weight of the probe's logit beside the score of the space; benchmarks/matrix decided it, see docs/method.md."""


def check_probe(dataset: Dataset) -> None:
    """See whether a dataset can be probed.

    Raises:
        UsageError: If it has no labels, or fewer than two classes.
    """
    if not dataset.labelled or len(dataset.classes) < 2:
        raise UsageError("--probe needs labelled images of at least two classes: folders, one a class, or a table")


def probe(
    dataset: Dataset,
    zoo: Zoo,
    entries: Sequence[NetworkEntry],
    seconds: float = PROBE_SECONDS,
    *,
    seed: int = 0,
    images: int = PROBE_IMAGES,
    score: Callable[[NDArray[np.float32], NDArray[np.int64]], float] = ridge_accuracy,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Estimate how well a linear classifier on each network's frozen features would do on labelled images.

    Networks are probed in the order given until the time is up; at least one is. With enough time the same data
    gives the same numbers.

    Args:
        dataset: The dataset, with labels.
        zoo: The zoo.
        entries: Networks to probe.
        seconds: Time at most; the network that is being probed when it ends is still finished.
        seed: Of the images that are drawn.
        images: Training images at most.
        score: What is said of features (n, d) and class indices (n,): see :mod:`nns.searching.probes`.
        progress: ``progress(done, total)``.

    Returns:
        Id to score of the networks that were probed: unless told otherwise the leave-one-out accuracy of a ridge
        classifier, 0..1.

    Raises:
        UsageError: If the dataset has no labels, or fewer than two classes.
    """
    started = time.perf_counter()
    check_probe(dataset)
    # never what fine-tuning validates and tests on
    pool = np.flatnonzero([item.split in (None, "train") for item in dataset.items])
    drawn = pool[draw_by_class(np.asarray(dataset.labels)[pool], images, seed)]
    decoded: dict[int, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
    found: dict[str, float] = {}
    for number, entry in enumerate(entries, 1):
        if found and time.perf_counter() - started > seconds:
            break
        size = entry.preprocessing.size
        if size not in decoded:
            decoded[size] = _decode(dataset, drawn, size)
        pixels, labels = decoded[size]
        backend = zoo.registry.backend(entry.spec.backend)
        module = load_network(zoo, entry.id).eval()
        found[entry.id] = score(features_of(backend, module, pixels, entry.preprocessing), labels)
        if progress:
            progress(number, len(entries))
    return found


def _decode(dataset: Dataset, drawn: NDArray[np.int64], size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, kept, _ = dataset.decode(drawn, size)
    return images, np.asarray(dataset.labels)[kept]


def probe_terms(accuracies: Mapping[str, float]) -> dict[str, float]:
    """Turn what the probe found, id to 0..1, into parts of the score: weighted logits, less their mean."""
    clipped = {network: min(max(accuracy, 0.01), 0.99) for network, accuracy in accuracies.items()}
    logits = {network: math.log(accuracy / (1 - accuracy)) for network, accuracy in clipped.items()}
    usual = sum(logits.values()) / max(len(logits), 1)
    return {network: PROBE_WEIGHT * (value - usual) for network, value in logits.items()}


def moved_accuracy(accuracy: float, logits: float) -> float:
    """Move a predicted accuracy, 0..1, by so many logits."""
    if not logits:
        return accuracy
    clipped = min(max(accuracy, 1e-6), 1 - 1e-6)
    return float(1 / (1 + (1 / clipped - 1) * np.exp(-logits)))
