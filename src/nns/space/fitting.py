"""Fitting a space to a zoo and keeping it there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.space import SpaceData, evaluate_held_out
from nns.space._blocks import fingerprint_blocks
from nns.types import SpaceRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.zoo import Zoo

DEFAULT_METHOD = "mixed"
MIN_DATASETS_HELD_OUT = 3


@dataclass(frozen=True)
class FitReport:
    """What a fit came to.

    Attributes:
        space: Name under which the space is kept.
        method: The method.
        networks: Networks it was fitted on.
        datasets: Datasets it was fitted on.
        seconds: Of the fit alone.
        held_out: Recall, ranks and predictor error on held-out datasets; None with fewer than three datasets.
    """

    space: str
    method: str
    networks: int
    datasets: int
    seconds: float
    held_out: dict[str, Any] | None


def space_data(zoo: Zoo) -> SpaceData:
    """Collect from a zoo what a space is fitted on."""
    entries, datasets = zoo.entries(), zoo.datasets()
    index = {record.digest: position for position, record in enumerate(datasets)}
    networks, moved_to, accuracy = known_transfers(zoo, index)
    return SpaceData(
        network_ids=tuple(zoo.ids()),
        blocks=fingerprint_blocks(zoo),
        accuracy=np.array([entry.accuracy for entry in entries], dtype=np.float64),
        dataset_index=np.array([index.get(entry.source_digest, -1) for entry in entries], dtype=np.int64),
        dataset_names=tuple(record.name for record in datasets),
        queries=tuple(np.array(record.features) for record in datasets),
        query_labels=tuple(np.array(record.labels) for record in datasets),
        transfer_network=networks,
        transfer_dataset=moved_to,
        transfer_accuracy=accuracy,
    )


def known_transfers(
    zoo: Zoo, index: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Collect the zoo's transfers: network, dataset, and accuracy averaged over recipes and seeds, each (t,).

    Args:
        zoo: The zoo.
        index: Position of each dataset by its digest; transfers to others are left out.
    """
    row_of = {network: row for row, network in enumerate(zoo.ids())}
    found: dict[tuple[int, int], list[float]] = {}
    for record in zoo.transfers():
        if record.network_id in row_of and record.dataset_digest in index and np.isfinite(record.accuracy):
            key = row_of[record.network_id], index[record.dataset_digest]
            found.setdefault(key, []).append(record.accuracy)
    keys = np.array(sorted(found), np.int64).reshape(-1, 2)
    means = np.array([float(np.mean(found[key])) for key in sorted(found)], np.float64)
    return keys[:, 0], keys[:, 1], means


def accuracy_report(data: SpaceData, evaluated: Mapping[str, Any]) -> Mapping[str, float]:
    """Pick how far off a held-out evaluation finds predictions: on transfers where there are enough, else own pairs.

    Args:
        data: What was evaluated on.
        evaluated: The report of :func:`nns.space.evaluate_held_out`.
    """
    enough = evaluated["transfer"] and data.enough_transfers
    found: Mapping[str, float] = evaluated["transfer" if enough else "accuracy"]
    return found


def fit_space(
    zoo: Zoo,
    *,
    method: str = DEFAULT_METHOD,
    epochs: int | None = None,
    seed: int = 0,
    held_out: bool = True,
) -> FitReport:
    """Fit a space, measure it on held-out datasets, and write it into the zoo under the method's name.

    Raises:
        UnknownNameError: If there is no such method.
        UsageError: If the zoo has fewer than two datasets with networks, or lacks what the method reads.
    """
    settings: dict[str, Any] = {"seed": seed} if epochs is None else {"seed": seed, "epochs": epochs}
    estimator = zoo.registry.method(method, **settings)
    data = space_data(zoo)
    zoo.store.close()  # all that it has read is in data: a fit need not hold it twice
    started = time.perf_counter()
    estimator.fit(data)
    seconds = time.perf_counter() - started
    report: dict[str, Any] = {"seconds": round(seconds, 3), "networks": len(data.network_ids)}
    evaluated = None
    if held_out and len(data.paired_datasets()) >= MIN_DATASETS_HELD_OUT:
        evaluated = evaluate_held_out(lambda: zoo.registry.method(method, **settings), data, seed=seed)
        report["held_out"] = evaluated
        known = accuracy_report(data, evaluated)
        report["interval80"] = known["error80"]
        report["gain80"] = known.get("gain80")
    counts = len(data.network_ids), len(data.dataset_names)
    zoo.store.put_space(
        SpaceRecord(
            name=method,
            method=method,
            settings=estimator.settings(),
            tensors=estimator.to_tensors(),
            network_ids=data.network_ids,
            embeddings=estimator.embed_zoo(data),
            report=report,
        )
    )
    del data, estimator  # a merge needs room for the datasets of its own
    zoo.store.merge()
    return FitReport(method, method, *counts, seconds, evaluated)
