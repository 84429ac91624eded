"""What fine-tunings on other datasets teach: each network's own level, and which of them does well on what.

The static ranking is the bar of every method that picks networks. So it is contained here: an additive model of the
known results, whose network part is each network's *quality*, and beside it terms that react to the user's images, each
with a weight that was found on families of datasets left out, and that falls to zero where the term does not help.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls

from nns.space._forward import logit
from nns.space.mixed.ridge import centre_within, fit_ridge, likelihoods

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space._data import FloatArray, IntArray, SpaceData

TEMPERATURES = (0.05, 0.1, 0.2, 0.5)
"""Widths of the kernel over cosines of datasets that compete."""
KERNEL_PRIOR = 0.5
"""Weight of "nothing is known" beside the datasets' kernels."""
SHRINKAGES = (0.3, 1.0, 3.0, 10.0)
"""Results of a network that its own level is worth less, that compete."""
SWEEPS = 30
LEAST_WEIGHT = 0.01
TERMS = ("history", "source", "space")
"""Parts that react to the user's images: results on similar datasets, similarity to the dataset a network was trained
on, and the cosine of the contrastive space."""


@dataclass(frozen=True, eq=False)
class History:
    """Known results on foreign datasets, and all that is needed to explain them.

    Attributes:
        network: (r,) network of each result.
        dataset: (r,) dataset of each result.
        target: (r,) accuracy in logits.
        weight: (r,) weight of each result, 0..1: an accuracy is as uncertain wherever it lies, so its logit is the more
            uncertain the nearer it is to 0 or 1, by the derivative 1 / (p (1 - p)).
        families: (d,) family of each dataset, as a number.
        inputs: (n, P) network inputs.
        units: (d, K) direction of each dataset's mean features from the usual ones.
        source: (n,) dataset each network was trained on, -1 unknown.
        cosines: (d, n) cosines of the contrastive space from encoders that have not seen the dataset, NaN unknown.
        prior: (n,) quality of each network by what is known of networks at large; empty: nothing is known.
    """

    network: IntArray
    dataset: IntArray
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    families: IntArray
    inputs: FloatArray
    units: FloatArray
    source: IntArray
    cosines: FloatArray
    prior: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(
        cls,
        data: SpaceData,
        inputs: FloatArray,
        units: FloatArray,
        cosines: FloatArray,
        prior: NDArray[np.float64],
    ) -> History:
        """Collect the transfers of a zoo."""
        rows = data.outcomes()
        moved = ~rows.own
        return cls(
            rows.network[moved],
            rows.dataset[moved],
            logit(rows.accuracy[moved]),
            np.maximum((4 * rows.accuracy[moved] * (1 - rows.accuracy[moved])) ** 2, LEAST_WEIGHT),
            np.unique(data.families, return_inverse=True)[1].astype(np.int64),
            inputs,
            units,
            data.dataset_index,
            cosines,
            prior,
        )

    def match(self, network: IntArray, dataset: IntArray, known: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the likeness of datasets to what networks were trained on, and the cosine of the space, (r, 2).

        Args:
            network: (r,) networks.
            dataset: (r,) datasets.
            known: (r,) whether it may be known what each network was trained on; the likeness is zero where not.
        """
        likeness = np.where(known, (self.units[dataset] * self.units[self.source[network]]).sum(axis=1), 0.0)
        return np.stack([likeness, np.nan_to_num(self.cosines[dataset, network])], axis=1)

    def only(self, kept: NDArray[np.bool_]) -> History:
        """Keep some of the results."""
        parts = ("network", "dataset", "target", "weight")
        return replace(self, **{name: getattr(self, name)[kept] for name in parts})


@dataclass(frozen=True, eq=False)
class Levels:
    """An additive model of results: level of the dataset plus quality of the network, in logits.

    Attributes:
        coefficients: (P,) of the network inputs, for networks without results.
        quality: (n,) of every network: what the prior and its inputs say, moved towards its results.
        residuals: (d, n) what is left of each known result, times the root of its weight; 0 where
            there is none.
        known: (d,) datasets with results.
    """

    coefficients: NDArray[np.float64]
    quality: NDArray[np.float64]
    residuals: NDArray[np.float64]
    known: IntArray


def fit_levels(history: History, shrinkage: float) -> Levels:
    """Fit the additive model by turns; a network's deviation from its inputs is shrunk towards zero.

    Args:
        history: The results.
        shrinkage: Number of results for which a deviation counts half.
    """
    d, n = len(history.families), len(history.inputs)
    weight = history.weight
    prior = history.prior if len(history.prior) else np.zeros(n)
    rows = np.asarray(history.inputs, np.float64)[history.network]
    coefficients, _ = fit_ridge(
        centre_within(rows, history.dataset, weight),
        centre_within(history.target - prior[history.network], history.dataset, weight),
        history.families[history.dataset],
        weight,
        averaged=True,
    )
    base = prior + np.asarray(history.inputs, np.float64) @ coefficients
    left = history.target - base[history.network]
    counts = np.bincount(history.network, weight, n)
    sizes = np.bincount(history.dataset, weight, d)
    deviation: NDArray[np.float64] = np.zeros(n)
    level: NDArray[np.float64] = np.zeros(d)
    for _ in range(SWEEPS):
        totals = np.bincount(history.dataset, weight * (left - deviation[history.network]), d)
        level = totals / np.maximum(sizes, 1e-9)
        deviation = np.bincount(history.network, weight * (left - level[history.dataset]), n) / (counts + shrinkage)
    residuals = np.zeros((d, n))
    # what is uncertain counts less where residuals of several datasets are averaged
    residuals[history.dataset, history.network] = np.sqrt(weight) * (
        left - level[history.dataset] - deviation[history.network]
    )
    return Levels(coefficients, base + deviation, residuals, np.flatnonzero(sizes).astype(np.int64))


def kernel_weights(unit: FloatArray, known: FloatArray, temperature: float) -> NDArray[np.float64]:
    """Weigh datasets (h, K) by their likeness to one (K,): (h,), less than one in all."""
    kernel = np.exp((np.asarray(known, np.float64) @ np.asarray(unit, np.float64) - 1) / temperature)
    weights: NDArray[np.float64] = kernel / (kernel.sum() + KERNEL_PRIOR)
    return weights


@dataclass(frozen=True, eq=False)
class Learned:
    """What the results taught.

    Attributes:
        levels: The additive model on all results.
        temperature: Of the kernel over datasets.
        weights: Weight of each of :data:`TERMS`, never negative.
        explained: Share of the residual variance within left-out datasets that the terms explain.
    """

    levels: Levels
    temperature: float
    weights: NDArray[np.float64]
    explained: float


def learn(history: History) -> Learned:
    """Average over shrinkages and temperatures, and weigh the terms, by families left out one after another."""
    families = np.unique(history.families[history.dataset])
    tried = [_tried(history, shrinkage, families) for shrinkage in SHRINKAGES]
    errors = np.array([each.errors for each in tried])
    count = len(tried[0].target)
    likely = likelihoods(errors, count)
    levels = [fit_levels(history, shrinkage) for shrinkage in SHRINKAGES]
    shares = likely.sum(axis=1)
    averaged = Levels(
        np.tensordot(shares, [each.coefficients for each in levels], 1),
        np.tensordot(shares, [each.quality for each in levels], 1),
        np.tensordot(shares, [each.residuals for each in levels], 1),
        levels[0].known,
    )
    weights = np.einsum("st,stk->k", likely, np.array([each.weights for each in tried]))
    best = np.unravel_index(int(likely.argmax()), likely.shape)
    temperature = float(np.exp(likely.sum(axis=0) @ np.log(TEMPERATURES)))
    explained = tried[int(best[0])].explained[int(best[1])]
    return Learned(averaged, temperature, weights, explained)


@dataclass(frozen=True, eq=False)
class _Tried:
    """What a shrinkage comes to on families left out; all but the target by temperature.

    Attributes:
        target: (r,) what the terms should explain.
        errors: (t,) squared errors of what they do.
        weights: (t, 3) weights of the terms.
        explained: (t,) share of the variance that they explain.
    """

    target: NDArray[np.float64]
    errors: NDArray[np.float64]
    weights: NDArray[np.float64]
    explained: list[float]


def _tried(history: History, shrinkage: float, families: IntArray) -> _Tried:
    held = [_leave_out(history, int(family), shrinkage) for family in families] if len(families) > 2 else []
    temperatures = range(len(TEMPERATURES))
    if not held:
        nothing = np.zeros((len(temperatures), len(TERMS)))
        return _Tried(np.zeros(0), np.ones(len(temperatures)), nothing, [0.0] * len(temperatures))
    targets = [target for _, target in held]
    target = np.concatenate(targets)
    errors, weights, explained = [], [], []
    for position in temperatures:
        terms = [by_temperature[position] for by_temperature, _ in held]
        stacked = np.concatenate(terms)
        errors.append(float(((target - stacked @ _non_negative(stacked, target)) ** 2).sum()))
        weights.append(_shrunk_weights(terms, targets))
        total = max(float((target**2).sum()), 1e-12)
        explained.append(1 - float(((target - stacked @ weights[-1]) ** 2).sum()) / total)
    return _Tried(target, np.array(errors), np.array(weights), explained)


def _leave_out(
    history: History, family: int, shrinkage: float
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Fit without a family; give the terms (r, 3) of its results for each temperature, and what they should explain.

    Both are centred within datasets, and times the root of the result's weight.
    """
    out = history.families[history.dataset] == family
    levels = fit_levels(history.only(~out), shrinkage)
    network, dataset = history.network[out], history.dataset[out]
    weight = history.weight[out]
    root = np.sqrt(weight)
    target = root * centre_within(history.target[out] - levels.quality[network], dataset, weight)
    source = history.source[network]
    foreign = (source >= 0) & (history.families[source] != family)
    match = history.match(network, dataset, foreign)
    found = []
    for temperature in TEMPERATURES:
        smoothed = np.zeros(len(network))
        for each in np.unique(dataset):
            weights = kernel_weights(history.units[each], history.units[levels.known], temperature)
            of_each = dataset == each
            smoothed[of_each] = (weights @ levels.residuals[levels.known])[network[of_each]]
        terms = centre_within(np.column_stack([smoothed, match]), dataset, weight)
        found.append(root[:, None] * terms)
    return found, target


def _shrunk_weights(terms: list[NDArray[np.float64]], targets: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Weigh the terms by non-negative least squares, times the positive-part shrinkage 1 - 1 / t^2 of each.

    The standard errors are those of the jackknife over families, whose results are not independent.
    """
    if len(terms) < 3:
        return np.zeros(len(TERMS))

    def fit(kept: list[int]) -> NDArray[np.float64]:
        return _non_negative(np.concatenate([terms[i] for i in kept]), np.concatenate([targets[i] for i in kept]))

    every = list(range(len(terms)))
    weights = fit(every)
    left = np.array([fit([i for i in every if i != out]) for out in every])
    count = len(every)
    errors = np.sqrt((count - 1) / count * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    shrunk: NDArray[np.float64] = weights * np.maximum(0.0, 1 - (errors / np.maximum(weights, 1e-12)) ** 2)
    return shrunk


def _non_negative(terms: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve non-negative ridge regression: weights have a prior of deviation 1, as their terms are in logits."""
    spread = np.sqrt(float((target**2).mean())) if len(target) else 1.0
    rows = np.concatenate([terms, spread * np.eye(terms.shape[1])])
    found: NDArray[np.float64] = nnls(rows, np.concatenate([target, np.zeros(terms.shape[1])]))[0]
    return found
