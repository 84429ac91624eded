"""How good a choice was: measures of one answer on one dataset within one limit, and their averages.

Equal scores stand for a random order of those that have them, and every measure is its expectation over that order,
computed, not drawn. So a baseline gains nothing from the order in which candidates happen to be listed, and the
measures of a random choice are exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import comb

import numpy as np
from scipy.stats import rankdata, weightedtau

from nns.bench.choosers._base import Answer, Floats, Mask

POINTS = 100.0
"""Points of accuracy in 1."""

LIMITS: tuple[float | None, ...] = (None, 0.5e6, 1e6, 2e6, 5e6, 10e6)
"""Limits of parameters of PROTOCOL.md."""

LEAST_SPREAD = 1e-6
"""Variance of predictions, 0..1, below which they do not differ: a tenth of a point."""

HEADLINE_LIMITS: tuple[float | None, ...] = (1e6, 2e6, 5e6)
"""Limits that the headline averages over."""

MEASURES = (
    *("regret", "rel1", "rel3", "rel5", "tau", "feasible", "mae", "coverage", "cold", "warm"),
    *("regret_top3", "accuracy", "accuracy_top3", "tuning1", "tuning3", "fidelity"),
)
"""What :func:`measure` gives."""


def expected_top(scores: Floats, key: Floats, value: Floats, k: int) -> float:
    """Take the k highest scores, of those the highest key, and give its value: the mean over orders of equals.

    Args:
        scores: (n,) what the order is by, -inf allowed.
        key: (n,) what is looked at among the k.
        value: (n,) what it brings; averaged over equal keys.
        k: How many; n if it is more.
    """
    k = min(k, len(scores))
    fixed, border, drawn = split_top(scores, k)
    best_fixed = key[fixed].max() if fixed.any() else -np.inf
    means = {each: float(value[(fixed | border) & (key == each)].mean()) for each in np.unique(key[fixed | border])}
    keys = np.sort(key[border])[::-1]
    total, spread = 0.0, comb(len(keys), drawn)
    for position, each in enumerate(keys, 1):  # it is the best of those drawn with this probability
        chance = comb(len(keys) - position, drawn - 1) / spread
        total += chance * means[max(each, best_fixed)]
    return total


def split_top(scores: Floats, k: int) -> tuple[Mask, Mask, int]:
    """Return which of (n,) are certainly among the k highest, which are equal at the border, and how many of those are.

    Returns:
        Mask of the certain ones (n,), mask of the equal ones (n,), and how many of the latter belong to the k, >= 1.
    """
    threshold = np.sort(scores)[-k]
    fixed = scores > threshold
    return fixed, scores == threshold, k - int(fixed.sum())


def expected_sum(scores: Floats, value: Floats, k: int) -> float:
    """Sum a value over the k highest scores: the mean over orders of equals."""
    k = min(k, len(scores))
    fixed, border, drawn = split_top(scores, k)
    return float(value[fixed].sum() + drawn * value[border].mean())


def weighted_tau(scores: Floats, accuracy: Floats) -> float:
    """Correlate two orders (n,), the top weighing most; 0 where one of them has no order.

    Vigna: A weighted correlation index for rankings with ties, WWW 2015; ``scipy.stats.weightedtau`` with
    ``rank=True``, the mean of weighing by either order.
    """
    with np.errstate(invalid="ignore"):
        tau = float(weightedtau(rankdata(scores), accuracy, rank=True).statistic)
    return tau if np.isfinite(tau) else 0.0


def fidelity(predicted: Floats, accuracy: Floats) -> float:
    """Return by how much accuracy differs where predictions differ by 1: the slope of the one over the other, (n,).

    1 is right; less is a method that promises more than comes; NaN where predictions do not differ.
    """
    off = predicted - predicted.mean()
    spread = float(off @ off)
    return float(off @ (accuracy - accuracy.mean())) / spread if spread > LEAST_SPREAD * len(off) else float("nan")


def measure(answer: Answer, accuracy: Floats, val: Floats, feasible: Mask, tuning_seconds: Floats) -> dict[str, float]:
    """Measure an answer.

    Args:
        answer: The answer.
        accuracy: (C,) test accuracy, 0..1.
        val: (C,) validation accuracy, 0..1.
        feasible: (C,) candidates within the limit, at least one.
        tuning_seconds: (C,) seconds of fine-tuning.

    Returns:
        ``regret``: points that the chosen one lacks to the best within the limit; ``rel1``, ``rel3``, ``rel5``: best
        of the top k over best; ``tau``; ``feasible``: probability that the chosen one is within the limit; ``mae``,
        ``coverage`` and ``fidelity`` of predicted accuracy over all within the limit; ``cold``, ``warm`` seconds;
        ``regret_top3``: of the best on validation among the top 3; ``accuracy``, ``accuracy_top3``: reached with 1 or 3
        fine-tunings, ``tuning1``, ``tuning3``: their seconds. NaN where there is none.
    """
    scores = np.where(np.isfinite(answer.scores), answer.scores, -np.inf)
    first, truth = scores[feasible], accuracy[feasible]
    best = float(truth.max())
    top = {k: expected_top(first, truth, truth, k) for k in (1, 3, 5)}
    chosen3 = expected_top(first, val[feasible], truth, 3)
    paid = 0.0 if answer.paid is None else answer.paid
    seconds = np.maximum(np.nan_to_num(tuning_seconds) - paid, 0.0)[feasible]
    found = {"regret": POINTS * (best - expected_top(first, first, truth, 1))}
    found |= {f"rel{k}": value / best if best > 0 else 1.0 for k, value in top.items()}
    found["tau"] = weighted_tau(first, truth)
    found["feasible"] = float(feasible[scores == scores.max()].mean())
    found["mae"] = found["coverage"] = found["fidelity"] = float("nan")
    if answer.predicted is not None:
        found["mae"] = POINTS * float(np.abs(answer.predicted[feasible] - truth).mean())
        found["fidelity"] = fidelity(answer.predicted[feasible], truth)
    if answer.interval is not None:
        low, high = answer.interval[feasible].T
        found["coverage"] = float(((low <= truth) & (truth <= high)).mean())
    found |= {"cold": answer.cold, "warm": answer.warm, "regret_top3": POINTS * (best - chosen3)}
    found |= {"accuracy": best - found["regret"] / POINTS, "accuracy_top3": chosen3}
    found["tuning1"] = expected_sum(first, seconds, 1)
    found["tuning3"] = expected_sum(first, seconds, 3)
    return found


def average(rows: Sequence[Mapping[str, float]], names: Sequence[str] = MEASURES) -> dict[str, float]:
    """Average measures over rows, leaving out NaN; NaN where nothing is left."""
    table = np.array([[row[name] for name in names] for row in rows], np.float64).reshape(-1, len(names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means = np.nanmean(table, axis=0) if len(table) else np.full(len(names), np.nan)
    return dict(zip(names, map(float, means), strict=True))


def limit_name(limit: float | None) -> str:
    """Write a limit as an option takes it: ``0.5M``, or ``none``."""
    return "none" if limit is None else f"{limit / 1e6:g}M"


def headline_limits(limits: Sequence[float | None]) -> list[float | None]:
    """Return those limits that the headline averages over; all, if none of the usual ones is there."""
    return [limit for limit in limits if limit in HEADLINE_LIMITS] or list(limits)


def per_task(
    rows: Mapping[tuple[int, str], Mapping[str, float]], limits: Sequence[float | None]
) -> dict[int, dict[str, float]]:
    """Average measures over limits, dataset by dataset; one that has none of the limits is left out.

    Args:
        rows: Measures by dataset and name of the limit.
        limits: The limits.
    """
    names = [limit_name(limit) for limit in limits]
    tasks = sorted({task for task, _ in rows})
    found = {task: [rows[task, name] for name in names if (task, name) in rows] for task in tasks}
    return {task: average(each) for task, each in found.items() if each}
