"""The inputs of all networks and datasets of a zoo, computed once and projected as often as a fit needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nns.space._pairs import PairSampler
from nns.space.mixed.inputs import Projection, QueryParts, network_blocks, project, query_views

if TYPE_CHECKING:
    from typing import Self

    from nns.space._data import FloatArray, IntArray, SpaceData


@dataclass(frozen=True, eq=False)
class ZooInputs:
    """Unprojected inputs.

    Attributes:
        data: The zoo.
        networks: Graph statistics (n, G), flattened kernels (n, K) and surprises (n, S) of all networks.
        queries: Description of all datasets in V views: mean (d, V, D), spread (d, V, D), classes (d, V, 2).
        components: Principal components kept of each high-dimensional input.
        whitening: How far they are made to vary alike, 0 to 1.
        spread_gain: Factor on the spread where networks are matched.
    """

    data: SpaceData
    networks: tuple[FloatArray, ...]
    queries: QueryParts
    components: int
    whitening: float
    spread_gain: float

    @classmethod
    def of(
        cls, data: SpaceData, *, components: int, whitening: float, spread_gain: float, views: int, seed: int
    ) -> Self:
        """Describe a zoo.

        Raises:
            UsageError: If ``graph`` or ``kernel`` is missing, or fewer than two datasets have networks.
        """
        PairSampler(data)
        rng = np.random.default_rng(seed)
        width = max(query.shape[1] for query in data.queries)
        described = []
        for features, labels in zip(data.queries, data.query_labels, strict=True):
            rows = features if len(features) else np.zeros((1, width), np.float32)
            described.append(query_views(rows, labels if len(features) else None, max(views, 1), rng))
        parts = (np.array([[view[i] for view in of_one] for of_one in described]) for i in range(3))
        return cls(data, network_blocks(data.blocks), QueryParts(*parts), components, whitening, spread_gain)

    def fit_projections(self, without: IntArray | tuple[()] = ()) -> dict[str, FloatArray]:
        """Fit the projections, leaving out datasets and the networks trained on them."""
        networks = ~np.isin(self.data.dataset_index, without)
        paired = self.data.paired_datasets()
        datasets = paired[~np.isin(paired, without)]
        graph, *flattened = self.networks
        how = (self.components, self.whitening)
        mean, spread, classes = (part[datasets, 0] for part in self.queries)
        projections = {
            "network_input.0": Projection.standardising(graph[networks]),
            "query_input.0": Projection.principal(mean, *how),
            "query_input.1": Projection.principal(spread, *how),
            "query_input.2": Projection.standardising(classes),
        }
        for number, block in enumerate(flattened, 1):
            projections[f"network_input.{number}"] = Projection.principal(block[networks], *how)
        return {
            f"{name}.{key}": array
            for name, projection in projections.items()
            for key, array in projection.arrays.items()
        }

    def match_gains(self, tensors: dict[str, FloatArray]) -> FloatArray:
        """Return the factor (R,) on each query input in matching, where class statistics do not count."""
        widths = [len(tensors[f"query_input.{i}.directions"]) for i in (0, 1)]
        gains = [1.0, self.spread_gain, 0.0]
        return np.repeat(gains, [*widths, self.queries.classes.shape[-1]]).astype(np.float32)

    def project(self, tensors: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Project to network inputs (n, P) and query inputs (d, V, R)."""
        return project(tensors, "network_input", self.networks), project(tensors, "query_input", self.queries)
