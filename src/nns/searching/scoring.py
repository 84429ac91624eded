"""Scoring the networks of a zoo for one dataset, by a fitted space; numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nns.errors import UnknownNameError, UsageError, ZooError
from nns.space._blocks import fingerprint_blocks
from nns.types import DatasetRecord, SpaceRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space import SpaceMethod
    from nns.zoo import Zoo

DEFAULT_SPACE = "mixed"


@dataclass(frozen=True)
class Scores:
    """Scores of n networks: see :class:`nns.searching.results.Candidate`; each (n,).

    Attributes:
        score: What the ranking is by.
        similarity: Cosine of dataset and network in the space.
        prior: Accuracy expected whatever the dataset, 0..1.
        predicted: Accuracy predicted for the dataset, 0..1.
        terms: The parts of the score, by name, each (n,).
        residuals: (d, n) what scores missed on d known datasets, in logits; NaN where a network has no result there.
    """

    score: NDArray[np.float32]
    similarity: NDArray[np.float32]
    prior: NDArray[np.float32]
    predicted: NDArray[np.float32]
    terms: Mapping[str, NDArray[np.float32]]
    residuals: NDArray[np.float32]


@dataclass(frozen=True)
class LoadedSpace:
    """A fitted space with the embedding of every network of the zoo, in the order of its entries.

    Attributes:
        record: The space as it is stored.
        method: The fitted method.
        embeddings: (n, dim) float32.
        prior: (n,) accuracy expected whatever the dataset, 0..1: the static ranking.
    """

    record: SpaceRecord
    method: SpaceMethod
    embeddings: NDArray[np.float32]
    prior: NDArray[np.float32]

    def score(self, query: DatasetRecord, rows: NDArray[np.int64]) -> Scores:
        """Score the networks at ``rows``.

        Raises:
            ZooError: If the method can do nothing with what the zoo holds.
        """
        with _usable(self.record.name):
            embedding = self.method.embed_query(query.features, query.labels)
            networks = self.embeddings[rows]
            return Scores(
                self.method.score(embedding, networks),
                self.method.similarity(embedding, networks),
                self.prior[rows],
                self.method.predict_accuracy(embedding, networks),
                self.method.terms(embedding, networks),
                self.method.residuals(networks),
            )

    def interval_margin(self) -> float | None:
        """Half-width of the 80 % interval of a predicted accuracy, from held-out errors; None if unknown."""
        return self._reported("interval80")

    def gain_margin(self) -> float | None:
        """Half-width of the 80 % interval of a predicted difference of two networks on one dataset; None if unknown."""
        return self._reported("gain80")

    def _reported(self, name: str) -> float | None:
        value = self.record.report.get(name)
        return float(value) if isinstance(value, int | float) else None


def choose_space(zoo: Zoo, name: str | None) -> str:
    """Pick the space to search with: the one named, else the default method's, else the first.

    Raises:
        UsageError: If the zoo has no fitted space.
        UnknownNameError: If it has none of that name.
    """
    names = list(zoo.spaces())
    if not names:
        raise UsageError(f"the zoo has no fitted space; run `nns space fit {zoo.path}` first")
    if name is None:
        return DEFAULT_SPACE if DEFAULT_SPACE in names else names[0]
    if name not in names:
        raise UnknownNameError.among("space", name, names)
    return name


def load_space(zoo: Zoo, name: str) -> LoadedSpace:
    """Load a space; networks that were added since its fit are embedded by one forward pass each.

    Raises:
        UnknownNameError: If there is no such space, or its method is not installed.
        ZooError: If the method can do nothing with what the zoo holds.
    """
    record = zoo.space(name)
    with _usable(name):
        method: SpaceMethod = zoo.registry.method(record.method, **record.settings).load_tensors(record.tensors)
        ids = list(zoo.ids())
        known = {network: row for row, network in enumerate(record.network_ids)}
        rows = np.array([known.get(network, -1) for network in ids], dtype=np.int64)
        embeddings = np.asarray(record.embeddings)[rows]
        new = np.flatnonzero(rows < 0)
        if len(new):
            embeddings = embeddings.copy()
            embeddings[new] = method.embed_networks(fingerprint_blocks(zoo, new))
        return LoadedSpace(record, method, embeddings, method.prior(embeddings))


@contextmanager
def _usable(name: str) -> Iterator[None]:
    """Whatever a method raises over settings and tensors of a stranger's zoo is a defect of that zoo."""
    try:
        yield
    except (UnknownNameError, ZooError):
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ZooError(f"space {name!r} of the zoo cannot be used ({what}); fit it again") from error
