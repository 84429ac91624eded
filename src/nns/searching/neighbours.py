"""Which datasets of the zoo a query is like, and whether it is like any."""

from __future__ import annotations

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


class Surroundings:
    """The datasets of a zoo, among which queries lie."""

    def __init__(self, zoo: Zoo) -> None:
        """Read them, and the results on them."""
        self._zoo = zoo
        self._records = [record for record in zoo.datasets() if len(record.features)]
        self._means = [np.asarray(record.features, np.float64).mean(axis=0) for record in self._records]
        self._known: dict[str, list[tuple[str, float]]] = {}
        for transfer in zoo.store.transfers():
            self._known.setdefault(transfer.dataset_digest, []).append((transfer.network_id, transfer.accuracy))
        self._winners: dict[str, tuple[str, float]] = {}
        self._places: dict[tuple[int, ...], _Places] = {}

    def of(self, query: DatasetRecord, count: int = 3) -> Neighbourhood:
        """Find the datasets that are most like a query; the query itself, if it is there, is left out."""
        width = query.features.shape[1]
        rows = [
            row
            for row, record in enumerate(self._records)
            if record.digest != query.digest and record.features.shape[1] == width
        ]
        if not rows or not len(query.features):
            return Neighbourhood((), float("nan"), True)
        places = self._places_of(tuple(rows))
        distances: NDArray[np.float64] = 1 - places.units @ _unit(
            np.asarray(query.features, np.float64).mean(axis=0) - places.centre
        )
        order = np.argsort(distances, kind="stable")[:count].tolist()
        nearest = tuple(
            Neighbour(self._records[rows[i]].name, float(distances[i]), *self._winner(self._records[rows[i]].digest))
            for i in order
        )
        return Neighbourhood(nearest, places.usual, bool(nearest[0].distance > places.usual))

    def _places_of(self, rows: tuple[int, ...]) -> _Places:
        """Place datasets among each other; kept for all of them alone, as a search leaves out one at most."""
        if rows in self._places:
            return self._places[rows]
        places = _Places.of(np.stack([self._means[row] for row in rows]))
        if len(rows) == len(self._records):
            self._places[rows] = places
        return places

    def _winner(self, digest: str) -> tuple[str, float]:
        """Return the best known network of a dataset: of those trained on it and of transfers to it."""
        if digest not in self._winners:
            own = self._zoo.store.best_trained_on(digest)
            known = [*self._known.get(digest, ()), *([(own.id, own.accuracy)] if own is not None else ())]
            known = [(network, accuracy) for network, accuracy in known if np.isfinite(accuracy)]
            # of equals the smaller id
            best = min(known, key=lambda each: (-each[1], each[0]), default=("", float("nan")))
            self._winners[digest] = best[0], float(best[1])
        return self._winners[digest]


@dataclass(frozen=True, eq=False)
class _Places:
    """Directions of d datasets from their centre, (d, D), that centre, and the usual distance to the nearest."""

    units: NDArray[np.float64]
    centre: NDArray[np.float64]
    usual: float

    @classmethod
    def of(cls, means: NDArray[np.float64]) -> _Places:
        centre = means.mean(axis=0)
        units = _unit(means - centre)
        if len(means) < 3:
            return cls(units, centre, float("nan"))
        between = 1 - units @ units.T
        np.fill_diagonal(between, np.inf)
        return cls(units, centre, float(np.quantile(between.min(axis=1), FAR_QUANTILE)))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.maximum(lengths, 1e-12)
    return unit
