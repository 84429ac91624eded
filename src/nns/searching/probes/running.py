"""Running a probe on networks of a zoo and the images of a dataset."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nns.data.cache import draw_by_class
from nns.errors import PluginError, UsageError
from nns.searching.probes._base import Probe
from nns.searching.probes.features import features_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.data import Dataset
    from nns.plugins import Registry
    from nns.types import NetworkEntry, PartProgress
    from nns.zoo import Zoo

PROBED = 20
"""Candidates that are probed at most."""

PROBE_IMAGES = 256
"""Labelled images of the user at most, drawn by class."""

PROBE_SECONDS = 10.0
"""Seconds at most, unless the user says otherwise."""


def make_probe(registry: Registry, name: str) -> Probe:
    """Make a registered probe.

    Raises:
        UnknownNameError: If no plugin registered it.
        PluginError: If its factory fails or makes something else.
    """
    probe = registry.make("probe", name)
    if not isinstance(probe, Probe):
        raise PluginError(f"probe {name!r} is a {type(probe).__name__}, not an nns.searching.probes.Probe")
    return probe


def check_probe(dataset: Dataset) -> None:
    """See whether a dataset can be probed.

    Raises:
        UsageError: If it has no labels, or fewer than two classes.
    """
    if not dataset.labelled or len(dataset.classes) < 2:
        raise UsageError("a probe needs labelled images of at least two classes: folders, one a class, or a table")


def run_probe(
    probe: Probe,
    dataset: Dataset,
    zoo: Zoo,
    entries: Sequence[NetworkEntry],
    seconds: float = PROBE_SECONDS,
    *,
    seed: int = 0,
    images: int = PROBE_IMAGES,
    progress: PartProgress | None = None,
) -> dict[str, float]:
    """Score each network's frozen features of labelled images.

    Networks are probed in the order given until the time is up; at least one is. With enough time the same data
    gives the same numbers.

    Args:
        probe: What scores.
        dataset: The dataset, with labels.
        zoo: The zoo.
        entries: Networks to probe.
        seconds: Time at most; the network that is being probed when it ends is still finished.
        seed: Of the images that are drawn.
        images: Training images at most.
        progress: ``progress(done, total)``.

    Returns:
        Id to score of the networks that were probed.

    Raises:
        UsageError: If the dataset has no labels, or fewer than two classes.
    """
    started = time.perf_counter()
    check_probe(dataset)
    pool = dataset.planned_splits(seed=seed)["train"]  # never what fine-tuning validates and tests on
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
        network = zoo.network(entry.id)
        features = features_of(network.backend, network.load(), pixels, entry.preprocessing)
        found[entry.id] = probe.score(features, labels)
        if progress:
            progress(number, len(entries))
    return found


def _decode(dataset: Dataset, drawn: NDArray[np.int64], size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, kept, _ = dataset.decode(drawn, size)
    return images, np.asarray(dataset.labels)[kept]
