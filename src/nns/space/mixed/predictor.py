"""The accuracy predictor of the mixed method: level of the dataset, quality of the network, their match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nns.space._data import Outcomes
from nns.space._forward import logit
from nns.space.mixed.ridge import centre_within, fit_ridge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space._data import FloatArray, SpaceData
    from nns.space.mixed.history import History, Levels

OWN_WEIGHT = 0.25
"""Weight of a result on a network's own dataset beside a transfer result: it says little about transfer."""
USUAL_SIMILARITY = 0.5


def fit_predictor(
    data: SpaceData,
    networks: FloatArray,
    queries: FloatArray,
    similarities: FloatArray,
    similarity_weight: float,
    prior: NDArray[np.float64] | None = None,
) -> dict[str, FloatArray]:
    """Fit all parts from known accuracies, in closed form.

    Quality is a fixed-effects ("within") ridge regression: logits and inputs are centred within each dataset
    first, so what makes a dataset easy cannot be put down to its networks. Level is a ridge regression of
    what is left, averaged over each dataset, on the query input.

    Args:
        data: The zoo.
        networks: (n, P) network inputs.
        queries: (d, R) query inputs.
        similarities: (d, n) cosines from encoders that have not seen the dataset, NaN where unknown.
        similarity_weight: Ranking weight where there are no transfer results.
        prior: (n,) quality of each network by what is known of networks at large; None: it is to be learned here.

    Returns:
        ``quality.weight`` (P,), ``level.weight`` (R,); ``quality.range`` and ``level.range``, smallest and
        largest known, (2,) each; ``level.bias``, ``ranking_weight``,
        ``accuracy_weight`` and ``usual`` (1,) each, the last what the score has in it for a usual match;
        ``history.units`` (0, 0): nothing is known of other datasets.
    """
    rows = data.outcomes()
    families = np.unique(data.families, return_inverse=True)[1].astype(np.int64)
    targets = logit(rows.accuracy)
    weights = np.where(rows.own, 1 - data.trust * (1 - OWN_WEIGHT), 1.0)
    inputs = np.asarray(networks, np.float64)[rows.network]
    quality, _ = fit_ridge(
        centre_within(inputs, rows.dataset, weights),
        centre_within(targets, rows.dataset, weights),
        families[rows.dataset],
        weights,
    )
    if prior is not None:
        # accuracies on their own datasets tell little of networks beside what is known at large
        quality = np.zeros(inputs.shape[1])
    left = targets - inputs @ quality - (0.0 if prior is None else prior[rows.network])
    level, bias, levels = _fit_level(rows, left, weights, queries, families)
    learned = data.trust * _residual_weight(rows, left, similarities)
    weight = learned + (1 - data.trust) * similarity_weight
    found = {
        "quality.weight": quality,
        "quality.range": _range_of(inputs @ quality),
        "level.range": _range_of(levels),
        "level.weight": level,
        "level.bias": np.array([bias]),
        "ranking_weight": np.array([weight]),
        "accuracy_weight": np.array([learned]),
        "usual": np.array([learned * _usual(rows, similarities)]),
        "history.units": np.zeros((0, 0)),
    }
    return {name: array.astype(np.float32) for name, array in found.items()}


def fit_levels_of_queries(
    history: History, levels: Levels, queries: FloatArray, terms: NDArray[np.float64]
) -> dict[str, FloatArray]:
    """Fit the level of a dataset from its query input, where transfers are known.

    Args:
        history: The known results.
        levels: The additive model of them.
        queries: (d, R) query inputs.
        terms: (r,) what the terms beside the quality say of each result.

    Returns:
        ``level.weight`` (R,), ``level.bias`` (1,), ``level.range`` (2,) and ``usual`` (1,), the mean of the terms.
    """
    left = history.target - levels.quality[history.network]
    rows = Outcomes(history.network, history.dataset, history.target, np.zeros(len(left), np.bool_))
    weight, bias, known = _fit_level(rows, left, history.weight, queries, history.families)
    found = {
        "level.weight": weight,
        "level.bias": np.array([bias]),
        "level.range": _range_of(known),
        "usual": np.array([terms.mean() if len(terms) else 0.0]),
    }
    return {name: array.astype(np.float32) for name, array in found.items()}


def _fit_level(
    rows: Outcomes,
    left: NDArray[np.float64],
    weights: NDArray[np.float64],
    queries: FloatArray,
    families: NDArray[np.int64],
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Regress each dataset's mean of ``left`` on its query input: coefficients (R,), intercept, the means."""
    known, members = np.unique(rows.dataset, return_inverse=True)
    if not len(known):
        return np.zeros(queries.shape[1]), 0.0, np.zeros(0)
    levels = np.bincount(members, weights * left) / np.bincount(members, weights)
    inputs = np.asarray(queries, np.float64)[known]
    centre, usual = inputs.mean(axis=0), float(levels.mean())
    slope, _ = fit_ridge(inputs - centre, levels - usual, families[known], np.ones(len(known)))
    return slope, usual - float(centre @ slope), levels


def _range_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([values.min(), values.max()]) if len(values) else np.zeros(2)


def _residual_weight(rows: Outcomes, left: NDArray[np.float64], similarities: FloatArray) -> float:
    """Weigh similarity by what it explains of transfer results beyond the quality, on datasets not seen.

    Least squares within datasets, times the positive-part shrinkage 1 - 1 / t^2 over datasets: zero where the
    sign is wrong or the effect no larger than its standard error.
    """
    cosines = similarities[rows.dataset, rows.network].astype(np.float64)
    used = ~rows.own & np.isfinite(cosines)
    datasets, members = np.unique(rows.dataset[used], return_inverse=True)
    if len(datasets) < 3:
        return 0.0
    ones = np.ones(int(used.sum()))
    x = centre_within(cosines[used], rows.dataset[used], ones)
    y = centre_within(left[used], rows.dataset[used], ones)
    power = float(x @ x)
    slope = float(x @ y) / max(power, 1e-12)
    # standard error from the scatter between datasets, whose rows are not independent
    scatter = np.bincount(members, x * (y - slope * x))
    error = float(np.sqrt((scatter**2).sum())) / max(power, 1e-12)
    if slope <= error:
        return 0.0
    return slope * (1 - (error / slope) ** 2)


def _usual(rows: Outcomes, similarities: FloatArray) -> float:
    """Average the similarity over the known results, from encoders that have not seen the dataset."""
    cosines = similarities[rows.dataset, rows.network]
    cosines = cosines[np.isfinite(cosines)]
    return float(cosines.mean()) if len(cosines) else USUAL_SIMILARITY
