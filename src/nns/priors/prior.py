"""The model: the quality of a network is linear in its facts, and a zoo's own results move it by Bayes' rule."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.priors.facts import FEATURES, PHOTOGRAPHS, PUBLISHED, Facts, features

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from nns.types import NetworkEntry

LEVEL_DEVIATION = 3.0
"""Prior deviation of a dataset's level, in logits: a dataset may be as easy or hard as it likes."""
CLIP = 0.01
LEAST_WEIGHT = 0.01
UNKNOWN = {"images seen": (0.6, 0.5), "depth of work": (0.0, 0.4), "own accuracy": (0.0, 1.5)}
"""Mean and deviation of facts that are not known; 0.6 is 3,000 images. Top-1 follows from the size."""


@dataclass(frozen=True, eq=False)
class Results:
    """Results of fine-tunings.

    Attributes:
        network: (r,) network of each, an index.
        dataset: (r,) dataset of each, an index.
        accuracy: (r,) accuracy, 0..1.
    """

    network: NDArray[np.int64]
    dataset: NDArray[np.int64]
    accuracy: NDArray[np.float64]

    @property
    def target(self) -> NDArray[np.float64]:
        """Return the accuracies in logits."""
        share = np.clip(self.accuracy, CLIP, 1 - CLIP)
        return np.asarray(np.log(share / (1 - share)))

    @property
    def weight(self) -> NDArray[np.float64]:
        """Weigh each: an accuracy is as uncertain near 0 and 1 as elsewhere, its logit is not."""
        return np.maximum((4 * self.accuracy * (1 - self.accuracy)) ** 2, LEAST_WEIGHT)


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What is known of n networks.

    Attributes:
        quality: (n,) mean, in logits beside a network of random weights and 3 million parameters.
        deviation: (n,) standard deviation of that.
        results: (n,) results of its own that each rests on.
        coefficients: (p,) mean of the coefficients, with these results.
    """

    quality: NDArray[np.float64]
    deviation: NDArray[np.float64]
    results: NDArray[np.int64]
    coefficients: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prior:
    """A model of networks at large.

    ``quality = features @ coefficients + own``, the last a deviation of the network's own; the logit of an accuracy is
    ``level of the dataset + quality + error``.

    Attributes:
        mean: (p,) mean of the coefficients.
        covariance: (p, p) of them.
        network: Standard deviation of a network's own part.
        error: Standard deviation of a result of weight 1.
        filling: Top-1 by size: intercept and slope over log10 of the parameters, and the deviation from that.
        level: Mean and deviation of datasets' levels.
        rests_on: Numbers of results, networks and datasets that it was learned from.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    network: float
    error: float
    filling: tuple[float, float, float]
    level: tuple[float, float]
    rests_on: Mapping[str, int]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        low, slope, deviation = document["filling"]
        centre, spread = document["level"]
        return cls(
            mean=np.array([document["mean"][name] for name in FEATURES], np.float64),
            covariance=np.array(document["covariance"], np.float64),
            network=float(document["network"]),
            error=float(document["error"]),
            filling=(low, slope, deviation),
            level=(centre, spread),
            rests_on=dict(document["rests_on"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters, JSON-able."""
        return {
            "mean": {name: round(float(value), 4) for name, value in zip(FEATURES, self.mean, strict=True)},
            "network": round(self.network, 4),
            "error": round(self.error, 4),
            "filling": [round(value, 4) for value in self.filling],
            "level": [round(value, 4) for value in self.level],
            "rests_on": dict(self.rests_on),
            "covariance": [[round(float(value), 6) for value in row] for row in self.covariance],
        }

    def features(self, facts: Sequence[Facts]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the facts as numbers, and the deviation of each that had to be filled in, (n, p) both."""
        rows = features(facts)
        size = np.log10(np.maximum([each.params for each in facts], 1.0) / 3e6)
        return fill(rows, size, self.filling)

    def of_entries(self, entries: Sequence[NetworkEntry]) -> Knowledge:
        """Say what is known of the networks of a zoo by their facts alone."""
        return self.of_facts([Facts.of(entry) for entry in entries])

    def of_facts(self, facts: Sequence[Facts], results: Results | None = None) -> Knowledge:
        """Say what is known of networks: by their facts, and by results, where there are some.

        Results count by Bayes' rule, exactly: coefficients, own parts of networks and levels of datasets are normal
        beforehand, and so is the error of a result, so they are afterwards. With no results the facts decide, with many
        a network's own; there is nothing in between that jumps.

        Args:
            facts: The networks.
            results: Results of some of them.
        """
        rows, unsure = self.features(facts)
        return self.of_features(rows, unsure, results)

    def of_features(
        self, rows: NDArray[np.float64], unsure: NDArray[np.float64], results: Results | None = None
    ) -> Knowledge:
        """Do what :meth:`of_facts` does, of facts that are numbers already."""
        own = self.network**2 + (unsure**2 @ (self.mean**2 + np.diag(self.covariance)))
        counts = np.bincount([] if results is None else results.network, minlength=len(rows)).astype(np.int64)
        if results is None or not len(results.network):
            spread = np.einsum("ij,jk,ik->i", rows, self.covariance, rows) + own
            return Knowledge(rows @ self.mean, np.sqrt(spread), counts, self.mean)
        known, networks = np.unique(results.network, return_inverse=True)
        datasets = np.unique(results.dataset, return_inverse=True)[1]
        width, levels = len(self.mean), datasets.max() + 1
        design = np.zeros((len(networks), width + len(known) + levels))
        design[:, :width] = rows[results.network]
        at = np.arange(len(networks))
        design[at, width + networks] = 1
        design[at, width + len(known) + datasets] = 1
        left = results.target - self.level[0] - rows[results.network] @ self.mean
        precision = np.zeros((design.shape[1],) * 2)
        precision[:width, :width] = np.linalg.inv(self.covariance)
        beyond = np.arange(width, len(precision))
        precision[beyond, beyond] = 1 / np.concatenate([own[known], np.full(levels, LEVEL_DEVIATION**2)])
        weight = results.weight / self.error**2
        covariance = np.linalg.inv(precision + (design * weight[:, None]).T @ design)
        found = covariance @ (design.T @ (weight * left))
        coefficients = self.mean + found[:width]
        quality = rows @ coefficients
        quality[known] += found[width : width + len(known)]
        # a network has a part of its own only where it has results: no (n, width + known) array, of a million networks
        spread = np.einsum("ij,jk,ik->i", rows, covariance[:width, :width], rows)
        beside, own_parts = covariance[:width, width:][:, : len(known)], np.diag(covariance)[width:][: len(known)]
        spread[known] += 2 * np.einsum("ij,ji->i", rows[known], beside) + own_parts
        return Knowledge(quality, np.sqrt(spread + np.where(counts > 0, 0.0, own)), counts, coefficients)


def fill(
    rows: NDArray[np.float64], size: NDArray[np.float64], filling: tuple[float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fill in facts that are not known, (n, p), by what is usual; give the deviation from the usual of those, too."""
    rows = rows.copy()
    missing = ~np.isfinite(rows)
    unsure = np.zeros(rows.shape)
    for name, (mean, deviation) in UNKNOWN.items():
        column = FEATURES.index(name)
        rows[missing[:, column], column] = mean
        unsure[missing[:, column], column] = deviation
    intercept, slope, deviation = filling
    lacking = missing[:, PUBLISHED] & (rows[:, PHOTOGRAPHS] > 0)
    rows[lacking, PUBLISHED] = intercept + slope * size[lacking]
    unsure[lacking, PUBLISHED] = deviation
    return rows, unsure


@cache
def shipped_prior() -> Prior:
    """Read the model that comes with nns."""
    return Prior.of(json.loads(files("nns.priors").joinpath("prior.json").read_text(encoding="utf-8")))
