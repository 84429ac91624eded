"""Measures of retrieval and of the predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space._data import FloatArray

    Floats = NDArray[np.floating[Any]]

PUBLISHED_CUTS = (1, 5, 10, 50, 100)
CUTS = (1, 5, 10, 50)


def ranks_of(scores: Floats, wanted: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Rank the wanted entries of ``scores`` (n,), 1 is best.

    Ties share their mean rank, so that a constant score is worth no more than chance.
    """
    ordered = np.sort(scores)
    better = len(scores) - np.searchsorted(ordered, scores[wanted], side="right")
    not_worse = len(scores) - np.searchsorted(ordered, scores[wanted], side="left")
    ranks: NDArray[np.float64] = 1 + better + (not_worse - better - 1) / 2
    return ranks


def paired_recall(queries: FloatArray, networks: FloatArray, cuts: Sequence[int] = PUBLISHED_CUTS) -> dict[str, Any]:
    """Measure retrieval as TANS reports it: B queries against B networks, the i-th pair matches.

    Args:
        queries: (B, dim) query embeddings.
        networks: (B, dim) network embeddings.
        cuts: The k of recall@k.

    Returns:
        ``recall``: percentage of queries whose network is among the k best, by k; ``median_rank`` and
        ``mean_rank`` of the matching network, counted from 1, the median rounded down.
    """
    scores = queries @ networks.T
    ranks = np.array([ranks_of(row, np.array([i]))[0] for i, row in enumerate(scores)])
    return {
        "recall": {k: 100.0 * float((ranks <= k).mean()) for k in cuts},
        "median_rank": float(np.floor(np.median(ranks))),
        "mean_rank": float(ranks.mean()),
    }


def hit_chance(candidates: int, wanted: int, cut: int) -> float:
    """Probability that ``cut`` random ones of ``candidates`` hold at least one of ``wanted``."""
    cut = min(cut, candidates)
    return 1.0 - comb(candidates - wanted, cut) / comb(candidates, cut)


def summarise_ranks(
    ranks: Sequence[NDArray[np.float64]], candidates: int, cuts: Sequence[int] = CUTS
) -> dict[str, Any]:
    """Summarise at which ranks the datasets' own networks come among all candidates.

    Args:
        ranks: For each dataset the ranks of its own networks, counted from 1.
        candidates: Networks in the pool.
        cuts: The k of recall@k.

    Returns:
        ``recall``: share of datasets with an own network among the k best, by k as text; ``recall_chance``:
        the same for a random order; ``median_rank``, ``mean_rank``: over all own networks of all datasets;
        ``mean_best_rank``: of the best own network; ``auc``: probability that an own network comes before
        another one, mean over datasets, 0.5 is chance; ``rank_chance``: expected rank of a random order.
    """
    counts = [len(r) for r in ranks]
    together = np.concatenate(ranks)
    aucs = [1 - (r.mean() - (len(r) + 1) / 2) / (candidates - len(r)) for r in ranks if len(r) < candidates]
    return {
        "datasets": len(ranks),
        "candidates": candidates,
        "recall": {str(k): float(np.mean([r.min() <= k for r in ranks])) for k in cuts},
        "recall_chance": {str(k): float(np.mean([hit_chance(candidates, n, k) for n in counts])) for k in cuts},
        "median_rank": float(np.median(together)),
        "mean_rank": float(together.mean()),
        "mean_best_rank": float(np.mean([r.min() for r in ranks])),
        "rank_chance": (candidates + 1) / 2,
        "auc": float(np.mean(aucs)) if aucs else 0.5,
    }


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two arrays (n,); 0 where one of them is constant or n < 3."""
    if len(a) < 3:
        return 0.0
    first, second = (mean_ranks(x) for x in (a, b))
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float(first @ second) / scale if scale > 0 else 0.0


def mean_ranks(values: Floats) -> NDArray[np.float64]:
    """Rank (n,) values ascending from 0, ties by their mean rank."""
    _, members, counts = np.unique(values, return_inverse=True, return_counts=True)
    firsts = np.cumsum(counts) - counts
    ranks: NDArray[np.float64] = (firsts + (counts - 1) / 2)[members]
    return ranks


def prediction_errors(predicted: Floats, actual: Floats) -> dict[str, float]:
    """Measure predictions (n,) against accuracies (n,): MAE, RMSE, Spearman's rank correlation."""
    errors = np.asarray(predicted, np.float64) - np.asarray(actual, np.float64)
    if not len(errors):
        return {"pairs": 0.0, "mae": 0.0, "rmse": 0.0, "spearman": 0.0}
    return {
        "pairs": float(len(errors)),
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "spearman": spearman(predicted, actual),
    }


def mean_within(groups: Mapping[int, tuple[Floats, Floats]]) -> float:
    """Average the rank correlation of (predicted, actual) over groups of at least three pairs."""
    values = [spearman(a, b) for a, b in groups.values() if len(a) >= 3 and np.ptp(b) > 0]
    return float(np.mean(values)) if values else 0.0
