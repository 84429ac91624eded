"""How far a dataset is from ImageNet: what is good for photographs need not be good for glyphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nns.data.extractors.efficientnet_lite0 import QUERY_DIM, imagenet_mean

THIRDS = ("nearest third", "middle", "farthest third")


def distances_from_imagenet(queries: Sequence[NDArray[np.float32]]) -> list[float]:
    """Compute 1 - the cosine between mean features of a dataset and those of ImageNet, 0..1; NaN for other features.

    Args:
        queries: (images, D) features of each dataset, by the default extractor.
    """
    if any(query.shape[1] != QUERY_DIM for query in queries):
        return [float("nan")] * len(queries)
    centre = imagenet_mean()
    means = [np.asarray(query, np.float64).mean(axis=0) for query in queries]
    lengths = [float(np.linalg.norm(mean) * np.linalg.norm(centre)) for mean in means]
    return [
        1 - float(mean @ centre) / length if length else float("nan")
        for mean, length in zip(means, lengths, strict=True)
    ]


def regret_by_third(
    tasks: Mapping[int, Mapping[str, float]], distances: Sequence[float]
) -> dict[str, tuple[float, int]]:
    """Average regrets over the third of the datasets that is nearest to ImageNet, the middle and the farthest.

    Args:
        tasks: Measures of each dataset, averaged over limits.
        distances: Of all datasets.

    Returns:
        Mean regret and number of datasets by the name of the third; empty where distances are not known.
    """
    order = sorted((distances[task], task) for task in tasks if np.isfinite(distances[task]))
    if len(order) < len(THIRDS):
        return {}
    parts = np.array_split(np.array([task for _, task in order]), len(THIRDS))
    return {
        name: (float(np.mean([tasks[int(task)]["regret"] for task in part])), len(part))
        for name, part in zip(THIRDS, parts, strict=True)
    }
