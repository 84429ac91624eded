"""The networks that meet the limits, in the order in which they are to be tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from nns.networks import Network
from nns.networks.origins import missing_backend
from nns.places import BackendWeights
from nns.priors import shipped_prior
from nns.searching.order import SORTED, best_first
from nns.searching.probes import moved_accuracy
from nns.searching.results import Candidate, Gain
from nns.searching.together import POOL, choose_together

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.history import OwnResults
    from nns.searching.limits import CostColumns
    from nns.searching.ready import ReadyZoo
    from nns.space import ScoreDetails, Scores, Space
    from nns.types import NetworkEntry
    from nns.zoo import Zoo

NORMAL_80 = 1.28
"""Deviations of a normal variable within which it is in 80 of 100 cases."""
LEAST_SLOPE = 0.04
"""An accuracy of 4 or 96 %: beyond that an interval in logits would be too narrow in points."""
LOOKED_AT = 256
"""Best of a ranking among which those on this disk are looked for."""


@dataclass(eq=False)
class Ranking:
    """k networks that meet the limits; an index, 0..k - 1, counts them in the order of their ids.

    Attributes:
        ready: Where they are, and what they were scored by.
        costs: Costs of all networks of the zoo.
        latencies: Seconds of one image by id, of those that were asked for.
        fingerprinted: Of which networks of the zoo there is a fingerprint.
        rows: (k,) their rows in the zoo.
        scores: Their scores, by what is known of networks at large and in the zoo.
        own: What the user's own results add to them.
        left_out: Better ones that are not on this disk, where nothing may be fetched.
        unscored: Networks that meet the limits, but of which the space knows nothing.
        shown: Networks that are shown of it, at most.
        order: (k,) indices, best first; of a million networks the first :data:`nns.searching.order.SORTED`.
        found: What a probe found, by index.
        added: What that adds to the score, by index.
        static: Index of the network of the highest prior, what a ranking blind to the dataset would give.
        loadable: (k,) which have a backend that is installed, and come first; None where all that matter have.
    """

    ready: ReadyZoo
    costs: CostColumns
    latencies: Mapping[str, float]
    fingerprinted: NDArray[np.bool_]
    rows: NDArray[np.int64]
    scores: Scores
    own: OwnResults
    unscored: int = 0
    left_out: tuple[Candidate, ...] = ()
    order: NDArray[np.int64] = field(init=False)
    static: int = field(init=False)
    found: dict[int, float] = field(default_factory=dict)
    added: dict[int, float] = field(default_factory=dict)
    beside: tuple[int, ...] = ()
    shown: int = 0
    loadable: NDArray[np.bool_] | None = None
    _together: dict[tuple[int, int, bool], list[int]] = field(default_factory=dict, init=False)

    @property
    def zoo(self) -> Zoo:
        """Where they are."""
        return self.ready.zoo

    @property
    def space(self) -> Space:
        """What they were scored by."""
        return self.ready.space

    def __post_init__(self) -> None:
        """Sort by the scores; of equals the smaller id, which is the smaller index, comes first."""
        self._total = self.scores.score + self.own.added if self.own.results else self.scores.score
        self._sort()
        self.static = self.scores.static()

    def _sort(self, first: Sequence[int] = ()) -> None:
        self._together.clear()
        self._first = np.array(first, np.int64)
        self.order = best_first(self._total, max(self.shown, SORTED), self._first, self.loadable)

    def _rank(self, index: int) -> int:
        """Return the place of a network, which may be behind those that are sorted."""
        if len(at := np.flatnonzero(self.order == index)):
            return 1 + int(at[0])
        before = self._total > self._total[index]
        before[:index] |= self._total[:index] == self._total[index]
        if len(at := np.flatnonzero(self._first == index)):
            before[:] = False
            before[self._first[: at[0]]] = True
        else:
            before[self._first] = True
        if self.loadable is not None:
            before = before & self.loadable if self.loadable[index] else before | self.loadable
        return 1 + int(np.count_nonzero(before))

    def entries(self, indices: Sequence[int]) -> dict[int, NetworkEntry]:
        """Read the descriptions of some of the networks; those of the others are not parsed."""
        found = self.ready.entries(self.rows[np.asarray(indices, np.int64)].tolist())
        return dict(zip(indices, found, strict=True))

    def of(self, kept: NDArray[np.intp], score: Callable[[NDArray[np.int64]], Scores]) -> Ranking:
        """Rank only some of the networks.

        Args:
            kept: Their indices, ascending.
            score: Scores the networks in some rows.
        """
        at = {index: number for number, index in enumerate(kept.tolist())}
        found = {at[index]: value for index, value in self.found.items() if index in at}
        rows = self.rows[kept]
        loadable = None if self.loadable is None else self.loadable[kept]
        some = replace(
            self,
            rows=rows,
            scores=score(rows),
            own=self.own.of(kept),
            found={},
            added={},
            beside=(),
            loadable=loadable,
        )
        if found:
            added = {at[index]: value for index, value in self.added.items() if index in at}
            some.put_first(found, added, [at[index] for index in self.beside if index in at])
        return some

    def on_disk(self) -> NDArray[np.bool_]:
        """Return which networks have their weights on this disk, (k,); every description is read for that."""
        entries = self.zoo.store.entries(self.rows.tolist())
        return np.array([Network(entry, self.zoo).on_disk for entry in entries], np.bool_)

    def first(self, count: int) -> list[int]:
        """Return the best ``count`` and the static choice: what is worth a probe."""
        first = dict.fromkeys([*self.order[:count].tolist(), self.static])
        return [index for index in first if self.loadable is None or self.loadable[index]]

    def first_on_disk(self, count: int) -> list[int]:
        """Return the best ``count`` whose weights are on this disk, of the first that are worth a look."""
        pool = [index for index in self.order[:LOOKED_AT].tolist() if self.loadable is None or self.loadable[index]]
        entries = self.entries(pool)
        return [index for index in pool if Network(entries[index], self.zoo).on_disk][:count]

    def put_first(self, found: Mapping[int, float], added: Mapping[int, float], beside: Sequence[int] = ()) -> None:
        """Put those that were probed before all others, in the order of their scores with the probe's part.

        Args:
            found: What the probe found, by index.
            added: What that adds to the score, by index.
            beside: Indices of what could not be probed, and takes its place among them by its score alone.
        """
        self.found, self.added, self.beside = dict(found), dict(added), tuple(beside)
        first = sorted([*self.found, *self.beside], key=lambda i: (-float(self.scores.score[i]) - self._moved(i), i))
        self._sort(first)

    def put_loadable_first(self, shown: int) -> None:
        """Put what can be built here before what cannot; nothing more is read where all that is shown can be.

        Args:
            shown: Networks at the beginning of the order that anybody looks at.
        """
        self.shown = max(self.shown, shown)
        if len(self.order) < min(self.shown, len(self.rows)):
            self._sort(self._first.tolist())
        here = set(self.zoo.registry.names("backend"))
        first = self.entries(self.order[: max(shown, POOL)].tolist())
        if all(entry.spec.backend in here for entry in first.values()):
            return
        found = self.zoo.store.describe(lambda some: np.array([each.spec.backend in here for each in some], np.bool_))
        loadable = found[self.rows]
        if not loadable.any():
            return
        self.loadable = loadable
        self._sort(self._first.tolist())

    def together(self, tries: int, probed: int, *, safe: bool = False) -> list[int]:
        """Choose the few to fine-tune together: among those that were probed, unless time was up before all were.

        Args:
            tries: How many.
            probed: How many were to be probed.
            safe: Whether the network of the highest prior is to be among them, if there are at least two.
        """
        asked = tries, probed, safe
        if asked not in self._together:  # what is shown, and what is told, ask for the same
            self._together[asked] = self._choose(tries, probed, safe)
        return self._together[asked]

    def _choose(self, tries: int, probed: int, safe: bool) -> list[int]:
        chosen = self._chosen(tries, probed)
        usable = self.loadable is None or bool(self.loadable[self.static])
        if safe and usable and len(chosen) > 1 and self.static not in chosen:
            chosen[-1] = self.static
        return chosen

    def _chosen(self, tries: int, probed: int) -> list[int]:
        complete = len(self.found) >= max(min(probed, len(self.rows)), tries)
        pool = (self.order[: len(self.found) + len(self.beside)] if complete else self.order)[
            : max(POOL, tries)
        ].tolist()
        if self.loadable is not None:
            pool = [index for index in pool if self.loadable[index]]
        pool = self._different(pool)
        expected = self.scores.details(pool).predicted.tolist()
        predicted = [moved_accuracy(each, self._moved(i)) for i, each in zip(pool, expected, strict=True)]
        residuals = self.scores.residuals(pool)
        return [pool[i] for i in choose_together(range(len(pool)), np.array(predicted), residuals, tries)]

    def _different(self, pool: list[int]) -> list[int]:
        """Keep the first of those that have the same weights: twice the same network is no second chance."""
        found: dict[str, int] = {}
        for index, entry in self.entries(pool).items():
            found.setdefault(self.ready.weights_name(entry), index)
        return list(found.values())

    def _moved(self, index: int) -> float:
        """Return what own results and a probe add to a score, in logits."""
        return float(self.own.added[index]) + self.added.get(index, 0.0)

    def candidates(self, indices: Sequence[int]) -> dict[int, Candidate]:
        """Describe some of the networks, by index."""
        details, entries = self.scores.details(indices), self.entries(indices)
        return {index: self._candidate(index, at, entries[index], details) for at, index in enumerate(indices)}

    def _candidate(self, index: int, at: int, entry: NetworkEntry, details: ScoreDetails) -> Candidate:
        row, added = int(self.rows[index]), self._moved(index)
        params, macs, size = self.costs.of(row)
        needs = missing_backend(entry, self.zoo.registry)
        nobody = needs and isinstance(entry.weights, BackendWeights)
        predicted = moved_accuracy(float(details.predicted[at]), added)
        margin = self._margin(row, entry, predicted, details.margin)
        terms = {name: float(part[at]) for name, part in details.terms.items()}
        return Candidate(
            rank=self._rank(index),
            entry=entry,
            params=params,
            macs=macs,
            bytes=size,
            latency=self.latencies.get(entry.id),
            score=float(self.scores.score[index]) + added,
            similarity=float(details.similarity[at]),
            prior=float(details.prior[at]),
            predicted_accuracy=predicted,
            interval=None if margin is None else (max(0.0, predicted - margin), min(1.0, predicted + margin)),
            terms=terms
            | ({"own": float(self.own.added[index])} if self.own.results else {})
            | ({"probe": self.added[index]} if index in self.found else {}),
            probe=self.found.get(index),
            weights=None if nobody else Network(entry, self.zoo).place,
            zoo=self.zoo,
            needs=needs,
        )

    def _margin(self, row: int, entry: NetworkEntry, predicted: float, known: float | None) -> float | None:
        """Widen the interval of a network of which only facts are known, by how little they say."""
        if self.space.is_fitted and self.fingerprinted[row]:
            return known
        prior = shipped_prior()
        parts = [prior.of_entries([entry]).deviation[0], prior.error]
        parts += [] if self.space.is_fitted else [prior.level[1]]
        wide = NORMAL_80 * float(np.linalg.norm(parts)) * max(predicted * (1 - predicted), LEAST_SLOPE)
        return min(1.0, float(np.hypot(wide, known or 0.0)))

    def gain(self, choice: Candidate, static: Candidate) -> Gain:
        """Return what a choice is expected to be ahead of the static choice by."""
        if choice.entry.id == static.entry.id:
            return Gain(0.0, (0.0, 0.0))
        points = 100 * (choice.predicted_accuracy - static.predicted_accuracy)
        margin = self.space.margin("gain80")
        return Gain(points, None if margin is None else (points - 100 * margin, points + 100 * margin))
