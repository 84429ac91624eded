"""Which datasets of the zoo a query is like, and whether it is like any."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nns.types import DatasetRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.zoo import Zoo

FAR_QUANTILE = 0.95
"""A query is far if its nearest dataset is further away than that of so many datasets of the zoo."""


@dataclass(frozen=True)
class Neighbour:
    """A dataset of the zoo.

    Attributes:
        name: Its name.
        distance: Cosine distance of the mean query features from those of the query, each less the mean over the
            zoo's datasets, 0..2.
        winner: Id of the network that did best on it, as far as the zoo knows; empty if it knows none.
        accuracy: Validation accuracy of that, 0..1; NaN if none is known.
    """

    name: str
    distance: float
    winner: str
    accuracy: float


@dataclass(frozen=True)
class Neighbourhood:
    """Where a query lies among the datasets of a zoo.

    Attributes:
        nearest: The nearest datasets, nearest first.
        usual: Distance to its nearest neighbour below which 95 % of the zoo's datasets have theirs; NaN with fewer
            than three.
        far: Whether the query has none so near.
    """

    nearest: tuple[Neighbour, ...]
    usual: float
    far: bool


def neighbourhood(query: DatasetRecord, zoo: Zoo, count: int = 3) -> Neighbourhood:
    """Find the datasets of a zoo that are most like a query; the query itself, if it is there, is left out."""
    records = [record for record in zoo.datasets() if record.digest != query.digest and len(record.features)]
    records = [record for record in records if record.features.shape[1] == query.features.shape[1]]
    if not records or not len(query.features):
        return Neighbourhood((), float("nan"), True)
    distances, usual = _distances(query, records)
    order = np.argsort(distances, kind="stable")[:count]
    best = _winners(zoo, {records[i].digest for i in order})
    nearest = tuple(
        Neighbour(records[i].name, float(distances[i]), *best.get(records[i].digest, ("", float("nan")))) for i in order
    )
    return Neighbourhood(nearest, usual, bool(nearest[0].distance > usual))


def _distances(query: DatasetRecord, records: Sequence[DatasetRecord]) -> tuple[NDArray[np.float64], float]:
    """Return the distances of the query to all, and the usual distance of a dataset to its nearest."""
    means = np.stack([np.asarray(record.features, np.float64).mean(axis=0) for record in records])
    centre = means.mean(axis=0)
    rows = _unit(means - centre)
    distances: NDArray[np.float64] = 1 - rows @ _unit(np.asarray(query.features, np.float64).mean(axis=0) - centre)
    if len(records) < 3:
        return distances, float("nan")
    between = 1 - rows @ rows.T
    np.fill_diagonal(between, np.inf)
    return distances, float(np.quantile(between.min(axis=1), FAR_QUANTILE))


def _winners(zoo: Zoo, digests: Collection[str]) -> dict[str, tuple[str, float]]:
    """Return the best known network of some datasets by digest: of their own networks and of transfers to them."""
    own = {digest: zoo.store.best_trained_on(digest) for digest in digests}
    known = [(digest, entry.id, entry.accuracy) for digest, entry in own.items() if entry is not None]
    known += [(record.dataset_digest, record.network_id, record.accuracy) for record in zoo.store.transfers()]
    best: dict[str, tuple[str, float]] = {}
    for digest, network, accuracy in sorted(row for row in known if row[0] in digests):
        if np.isfinite(accuracy) and (digest not in best or accuracy > best[digest][1]):
            best[digest] = (network, float(accuracy))
    return best


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.maximum(lengths, 1e-12)
    return unit
