"""An index of millions of networks: the best of them within limits in milliseconds, in a process that stays.

It looks at the networks of a few cells of an inverted file (faiss) in place of all, so that now and then it misses one;
how many it finds is measured as it is made. Where few networks are within the limits, those alone are scored, which is
exact and faster. Either way scores are exact: the index only says which networks are worth one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import UsageError
from nns.searching.limits import CostColumns
from nns.searching.order import best_first
from nns.space import score_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nns.space import SpaceMethod
    from nns.types import Limits, NetworkColumns

RECALL = 0.97
"""Share of the best ten that an index must find of those that an exact pass finds, as it is made: two points more than
is promised, since it is measured on some queries."""
BEST = 10
TRIED = 64
"""Queries that it is measured with."""
SAMPLE = 16_384
"""Networks of which the share within limits is estimated."""
FEW = 100_000
"""Networks within limits, or so many that one limit alone leaves, from which cells of the index are faster."""
LOOKED_AT = 20
"""Networks that are scored exactly, for each that is wanted: the index has numbers of 8 bits."""
SHARES = (1.0, 1 / 4, 1 / 16, 1 / 64)
"""Shares within limits for which the number of cells is chosen: the best of few lie further apart."""
PER_CELL = 16
"""Networks a cell that the cells are learned from."""
FEWEST = 1000
"""Networks below which an index makes no sense."""


def make_faiss() -> Any:
    """Import faiss.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise UsageError('an index needs faiss: pip install "nns[faiss]"') from error
    return faiss


@dataclass(frozen=True, eq=False)
class Found:
    """What an index found.

    Attributes:
        rows: The best networks, best first.
        scores: Their scores.
        how: ``"exact"``, or ``"cells"`` where only some of the networks were looked at.
        looked_at: Networks that were scored, or in the cells that were looked at.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    how: str
    looked_at: int


@dataclass(eq=False)
class NetworkIndex:
    """An index of the networks of a space.

    Attributes:
        method: What scores.
        embeddings: (n, dim) of all networks.
        columns: Their numbers, for limits.
        cells: The inverted file.
        looked: Cells to look at, for each of :data:`SHARES`.
        recalls: Share of the best ten that was found then, of the queries that it was made with.
    """

    method: SpaceMethod
    embeddings: NDArray[np.float32]
    columns: NetworkColumns
    cells: Any
    looked: list[int] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Sort by each number that limits are about; sorted, a limit is a place."""
        random = np.random.default_rng(0)
        self._centres: Any = None
        self._sample = random.choice(len(self.columns), min(SAMPLE, len(self.columns)), replace=False)
        self._sorted: dict[str, tuple[NDArray[np.int64], NDArray[np.int32]]] = {}
        for name, column in _limited(self.columns).items():
            order = np.argsort(column, kind="stable").astype(np.int32)
            self._sorted[name] = column[order], order

    @classmethod
    def build(
        cls,
        method: SpaceMethod,
        embeddings: NDArray[np.float32],
        columns: NetworkColumns,
        queries: NDArray[np.float32],
        *,
        recall: float = RECALL,
        seed: int = 0,
    ) -> NetworkIndex:
        """Make an index.

        Args:
            method: The fitted method of a space.
            embeddings: (n, dim) of all networks, every number finite.
            columns: Their numbers.
            queries: (q, dim) embeddings of datasets, such as the zoo's own, to measure it with.
            recall: Share of the best ten that it must find of them.
            seed: Of the sample that cells are learned from.

        Raises:
            UsageError: If faiss is not installed, or there are too few networks.
        """
        faiss, count = make_faiss(), len(embeddings)
        if count < FEWEST:
            raise UsageError(f"an index of {count} networks is slower than a pass over them; it needs {FEWEST}")
        number = 2 ** round(math.log2(2 * math.sqrt(count)))
        dim = embeddings.shape[1]
        sample = np.random.default_rng(seed).choice(count, min(count, PER_CELL * number), replace=False)
        some = np.ascontiguousarray(embeddings[np.sort(sample)])
        groups = faiss.Kmeans(dim, number, niter=5, seed=seed + 1, min_points_per_centroid=PER_CELL // 2)
        groups.train(some)
        # a graph over the centres finds the cell of a network by a hundredth of the products
        centres = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        centres.add(groups.centroids)
        kind = faiss.ScalarQuantizer.QT_8bit
        cells = faiss.IndexIVFScalarQuantizer(centres, dim, number, kind, faiss.METRIC_INNER_PRODUCT)
        cells.train(some)
        for start in range(0, count, 65_536):
            cells.add(np.ascontiguousarray(embeddings[start : start + 65_536]))
        found = cls(method, embeddings, columns, cells)
        found._centres = centres  # faiss does not keep it
        found._choose_cells(queries[:TRIED], recall)
        return found

    def _choose_cells(self, queries: NDArray[np.float32], recall: float) -> None:
        """Look at twice as many cells as long as too little is found, of all and of shares drawn at random."""
        random, count = np.random.default_rng(1), len(self.embeddings)
        within = [np.ones(count, np.bool_), *(random.random(count, np.float32) < share for share in SHARES[1:])]
        exact: list[list[set[int]]] = [[] for _ in within]
        for query in queries:
            scores = score_rows(self.method, query, self.embeddings, np.arange(count))
            for mask, sets in zip(within, exact, strict=True):
                sets.append(set(best_first(np.where(mask, scores, np.float32(-1e30)), BEST)[:BEST].tolist()))
        chosen: list[int] = []
        looked = 4
        for share, mask, sets in zip(SHARES, within, exact, strict=True):
            while True:
                self.looked, fits = [looked] * len(SHARES), mask.take
                found = [set(self._by_cells(query, BEST, fits, share).rows.tolist()) for query in queries]
                reached = float(np.mean([len(a & b) / BEST for a, b in zip(found, sets, strict=True)]))
                if reached >= recall or 2 * looked > self.cells.nlist:
                    break
                looked *= 2
            chosen.append(looked)
            self.recalls.append(reached)
        self.looked = chosen

    def search(self, query: NDArray[np.float32], count: int, limits: Limits, classes: int | None) -> Found:
        """Find the best networks within limits on parameters, MACs and bytes.

        Args:
            query: Embedding of a dataset, (dim,).
            count: Networks to find.
            limits: Hard limits; those on latency, backend and licence are the caller's.
            classes: Of the head that each network is counted with; None: its own.

        Returns:
            The best; fewer if fewer are within the limits.
        """
        costs = CostColumns(self.columns, classes)
        limited = costs.limited(limits)
        if not limited:
            return self._by_cells(query, count, None, 1.0)
        # a head only adds: what exceeds a limit without one is out, and the rest of a sorted column is at its beginning
        places = {name: int(np.searchsorted(self._sorted[name][0], limit, "right")) for name, _, _, limit in limited}
        name = min(places, key=lambda each: places[each])
        if places[name] <= FEW:
            rows = np.sort(self._sorted[name][1][: places[name]]).astype(np.int64)
            return self._exactly(query, count, rows[costs.within(limits, rows)])
        share = float(costs.within(limits, self._sample).mean())
        if share * len(self.columns) <= FEW:  # each limit alone leaves many, all together few
            return self._exactly(query, count, np.flatnonzero(costs.all_within(limits)))
        found = self._by_cells(query, count, lambda rows: costs.within(limits, rows), share)
        if len(found.rows) < count:  # the cells that were looked at have hardly any
            return self._exactly(query, count, np.flatnonzero(costs.all_within(limits)))
        return found

    def _exactly(self, query: NDArray[np.float32], count: int, rows: NDArray[np.int64]) -> Found:
        scores = score_rows(self.method, query, self.embeddings, rows)
        best = best_first(scores, count)[:count]
        return Found(rows[best], scores[best], "exact", len(rows))

    def _by_cells(
        self,
        query: NDArray[np.float32],
        count: int,
        fits: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None,
        share: float,
    ) -> Found:
        """Look through some cells; what is beyond limits is left out after that, so more is looked at for it."""
        faiss = make_faiss()
        looked = next(
            (cells for each, cells in zip(SHARES, self.looked, strict=True) if each <= share), self.looked[-1]
        )
        wanted = min(len(self.columns), round(LOOKED_AT * count / max(share, SHARES[-1])))
        vector = np.ascontiguousarray(self.method.ranking_vector(query)[None], np.float32)
        graph = faiss.SearchParametersHNSW(efSearch=max(64, 2 * looked))
        where = faiss.SearchParametersIVF(nprobe=looked, quantizer_params=graph)
        rows = self.cells.search(vector, wanted, params=where)[1][0]
        rows = np.sort(rows[rows >= 0])
        found = self._exactly(query, count, rows if fits is None else rows[fits(rows)])
        return Found(found.rows, found.scores, "cells", looked * len(self.columns) // self.cells.nlist)


def _limited(columns: NetworkColumns) -> dict[str, NDArray[np.int64]]:
    return {"max_params": columns.body_params, "max_macs": columns.body_macs, "max_size": columns.body_bytes}
