"""Whether a benchmark can tell methods apart at all: printed before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.bench.choosers._base import Floats, Scene
from nns.bench.metrics import limit_name

MIN_CANDIDATES = 2
"""Candidates within a limit below which there is nothing to choose."""


def variance_shares(accuracy: Floats, repeated: NDArray[np.floating] | None = None) -> dict[str, float]:
    """Split the variance of accuracies by a two-way additive model, least squares over the cells that are there.

    Args:
        accuracy: (T, C), NaN where there is no cell.
        repeated: (S, T, C) the repetitions it is the mean of, for the share of noise.

    Returns:
        ``task``: share of the whole variance that lies between datasets; and of the variance within datasets
        ``network``: due to the network alone; ``network_adjusted``: that less what as many random numbers would
        explain; ``residual``: the rest, which only a chooser that looks at the data can win; ``noise``: what the
        repetitions differ by (part of the residual), NaN without repetitions.
    """
    rows, columns = np.nonzero(np.isfinite(accuracy))
    values = accuracy[rows, columns]
    nothing = dict.fromkeys(("task", "network", "network_adjusted", "residual", "noise"), float("nan"))
    if not len(values):
        return nothing
    counts = np.maximum(np.bincount(rows, minlength=len(accuracy)), 1)
    means = np.bincount(rows, values, minlength=len(accuracy)) / counts
    whole = float(((values - values.mean()) ** 2).sum())
    within = float(((values - means[rows]) ** 2).sum())
    if whole <= 0 or within <= 0:
        return nothing
    design = np.zeros((len(values), sum(accuracy.shape)))
    design[np.arange(len(values)), rows] = 1
    design[np.arange(len(values)), len(accuracy) + columns] = 1
    solution, _, rank, _ = np.linalg.lstsq(design, values)
    residual = float(((values - design @ solution) ** 2).sum())
    free_within, free_residual = len(values) - len(np.unique(rows)), len(values) - int(rank)
    adjusted = 1 - (residual / free_residual) / (within / free_within) if free_residual > 0 else float("nan")
    return {
        "task": 1 - within / whole,
        "network": 1 - residual / within,
        "network_adjusted": adjusted,
        "residual": residual / within,
        "noise": float("nan") if repeated is None else _noise(repeated) / within,
    }


def _noise(repeated: NDArray[np.floating]) -> float:
    """Sum over cells the variance of the mean of their repetitions; NaN if no cell has two."""
    known = np.isfinite(repeated)
    counts = known.sum(axis=0)
    several = counts > 1
    if not several.any():
        return float("nan")
    variance = np.nanvar(np.where(known, repeated, np.nan)[:, several], axis=0, ddof=1, dtype=np.float64)
    # cells with one repetition are as noisy as the others, and are not averaged
    usual = float(variance.mean())
    return float((variance / counts[several]).sum() + usual * (counts == 1).sum())


def separability(scene: Scene, limits: Sequence[float | None]) -> dict[str, Any]:
    """Return how many networks are best somewhere, and what the accuracies depend on.

    Returns:
        The shares of :func:`variance_shares`; ``limits``: for each ``datasets``, ``skipped``, ``winners``, ``most``
        (the network that is best most often), ``wins``, ``random_regret`` (points) within it; ``sentence``.
    """
    repeated = None if scene.head_only else scene.matrix.test
    found: dict[str, Any] = {**variance_shares(scene.accuracy, repeated), "limits": {}}
    leaders: dict[tuple[str, int, int], list[str]] = {}
    for limit in limits:
        winners = _winners(scene, limit)
        found["limits"][limit_name(limit)] = winners
        if winners["datasets"] and 2 * winners["wins"] > winners["datasets"]:
            key = winners["most"], winners["wins"], winners["datasets"]
            leaders.setdefault(key, []).append("no limit" if limit is None else limit_name(limit))
    parts = [
        f"{most} is best on {wins} of {datasets} datasets (limit of parameters: {', '.join(names)})"
        for (most, wins, datasets), names in leaders.items()
    ]
    found["sentence"] = (
        f"It cannot tell methods apart where one network wins most rows: {'; '.join(parts)}."
        if parts
        else "No network wins most rows, so that methods can be told apart."
    )
    return found


def _winners(scene: Scene, limit: float | None) -> dict[str, Any]:
    best: list[NDArray[np.bool_]] = []
    regrets = []
    for task, accuracy in enumerate(scene.accuracy):
        feasible = scene.feasible(task, limit)
        if feasible.sum() >= MIN_CANDIDATES:
            top = accuracy[feasible].max()
            best.append(feasible & (accuracy == top))
            regrets.append(100 * float(top - accuracy[feasible].mean()))
    wins = np.sum(best, axis=0) if best else np.zeros(len(scene.matrix.candidates), int)
    most = int(np.argmax(wins)) if best else -1
    # of several that are equally best on a dataset the one counts that is best most often
    winners = {int(np.argmax(np.where(row, wins, -1))) for row in best}
    candidate = scene.matrix.candidates[most] if best else None
    return {
        "datasets": len(best),
        "skipped": len(scene.accuracy) - len(best),
        "winners": len(winners),
        "most": f"{candidate.architecture} of {candidate.source}, {candidate.id[:8]}" if candidate else "",
        "wins": int(wins[most]) if best else 0,
        "random_regret": float(np.mean(regrets)) if regrets else float("nan"),
    }
