"""How the shipped prior is learned from the shipped results."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nns.priors.facts import FEATURES, Facts, features
from nns.priors.prior import LEVEL_DEVIATION, Prior, Results, fill

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent

BELIEF: dict[str, tuple[float, float]] = {
    "photographs": (1.0, 1.0),
    "more photographs": (0.0, 0.3),
    "refined": (0.0, 1.0),
    "first stages": (0.0, 1.0),
    "taught": (0.5, 1.0),
    "taught on": (0.2, 0.5),
    "small set": (0.0, 1.0),
    "images seen": (0.2, 0.2),
    "size, photographs": (0.0, 0.3),
    "size, others": (0.3, 0.3),
    "depth of work": (0.0, 0.3),
    "published": (1.0, 0.5),
    "own accuracy": (0.0, 0.2),
}
"""Mean and deviation of each coefficient before any result. That of the published accuracy: Kornblith, Shlens and Le
(Do better ImageNet models transfer better?, 2019) found logits of accuracies after fine-tuning to rise with those on
ImageNet, r = 0.96; a slope of one is the natural guess."""
NETWORK_DEVIATIONS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
ERRORS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
"""Deviations that compete by the evidence."""


@dataclass(frozen=True, eq=False)
class Table:
    """Results with the facts of their networks.

    Attributes:
        names: Names of networks.
        facts: Facts of each.
        sources: Where its results are from.
        datasets: Names of datasets; one name measured by another recipe is another dataset.
        results: The results.
    """

    names: Sequence[str]
    facts: Sequence[Facts]
    sources: Sequence[str]
    datasets: Sequence[str]
    results: Results

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Table:
        """Read ``networks.csv`` and ``results.csv``."""
        with open(folder / "networks.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        numbers = ("params", "macs", "imagenet", "images", "accuracy")
        facts = [
            Facts(
                start=row["start"],
                refined=row["refined"] == "1",
                cut=row["cut"] == "1",
                taught=row["taught"] == "1",
                **{name: float(row[name] or "nan") for name in numbers},
            )
            for row in rows
        ]
        index = {(row["source"], row["network"]): at for at, row in enumerate(rows)}
        with open(folder / "results.csv", newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
        datasets = sorted({f"{row['source']}/{row['dataset']}" for row in found})
        place = {name: at for at, name in enumerate(datasets)}
        return cls(
            [row["network"] for row in rows],
            facts,
            [row["source"] for row in rows],
            datasets,
            Results(
                np.array([index[row["source"], row["network"]] for row in found], np.int64),
                np.array([place[f"{row['source']}/{row['dataset']}"] for row in found], np.int64),
                np.array([float(row["accuracy"]) for row in found], np.float64),
            ),
        )

    def without(self, left_out: Callable[[str], bool]) -> Table:
        """Leave out results on datasets by their name, ``SOURCE/DATASET``."""
        out = np.array([left_out(name) for name in self.datasets], bool)
        kept = ~out[self.results.dataset]
        parts = Results(self.results.network[kept], self.results.dataset[kept], self.results.accuracy[kept])
        return Table(self.names, self.facts, self.sources, self.datasets, parts)


def learn(table: Table, filling: tuple[float, float, float]) -> Prior:
    """Learn the coefficients by Bayes' rule, the deviations by the evidence.

    Args:
        table: The results.
        filling: What top-1 on ImageNet follows from the size, see :class:`nns.priors.Prior`.
    """
    raw = features(table.facts)
    size = np.log10(np.array([each.params for each in table.facts]) / 3e6)
    rows, _ = fill(raw, size, filling)
    results = table.results
    known, networks = np.unique(results.network, return_inverse=True)
    with_results, datasets = np.unique(results.dataset, return_inverse=True)
    width = len(FEATURES)
    design = np.zeros((len(networks), width + len(known) + len(with_results)))
    design[:, :width] = rows[results.network]
    at = np.arange(len(networks))
    design[at, width + networks] = 1
    design[at, width + len(known) + datasets] = 1
    belief = np.array([BELIEF[name] for name in FEATURES])
    target = results.target
    centre = float(np.average(target, weights=results.weight))
    left = target - centre - design[:, :width] @ belief[:, 0]
    gram = (design * results.weight[:, None]).T @ design
    moments = design.T @ (results.weight * left)
    power = float((results.weight * left**2).sum())
    best = None
    for network in NETWORK_DEVIATIONS:
        beyond = [network**2] * len(known) + [LEVEL_DEVIATION**2] * len(with_results)
        variances = np.concatenate([belief[:, 1] ** 2, beyond])
        for error in ERRORS:
            found, covariance, evidence = _posterior(gram, moments, power, variances, error, len(left))
            if best is None or evidence > best[0]:
                best = (evidence, network, error, found, covariance)
    assert best is not None
    _, network, error, found, covariance = best
    levels = found[width + len(known) :] + centre
    return Prior(
        belief[:, 0] + found[:width],
        covariance[:width, :width],
        network,
        error,
        filling,
        (float(levels.mean()), float(levels.std())),
        {"results": len(left), "networks": len(known), "datasets": len(with_results)},
    )


def _posterior(
    gram: NDArray[np.float64],
    moments: NDArray[np.float64],
    power: float,
    variances: NDArray[np.float64],
    error: float,
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Solve the linear model; the evidence, but for a constant, is of the usual closed form."""
    precision = gram / error**2 + np.diag(1 / variances)
    covariance = np.linalg.inv(precision)
    found = covariance @ (moments / error**2)
    fit = power / error**2 - float(found @ moments) / error**2
    determinant = np.linalg.slogdet(precision)[1] + np.log(variances).sum() + count * 2 * np.log(error)
    return found, np.asarray(covariance, np.float64), float(-0.5 * (fit + determinant))
