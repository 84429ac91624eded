"""Probabilities that mean what they say: one temperature, fitted on the validation split, and how far off they are.

Source: Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nns.documents import Count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_IMAGES = 50
"""Validation images below which no temperature is fitted: with fewer it is as often worse as better."""

MOST = 20.0
"""The temperature is at most this, and at least one over it."""

BINS = 10

DRAWS = 20
"""Draws of what chance alone does."""


@dataclass(frozen=True)
class Calibration:
    """By what logits are divided, so that probabilities are honest.

    Attributes:
        temperature: What logits are divided by before the softmax; 1 where there were too few images to fit it.
        images: Validation images there were.
    """

    temperature: float
    images: Count

    @property
    def fitted(self) -> bool:
        """Whether there were images enough."""
        return self.images >= LEAST_IMAGES


@dataclass(frozen=True)
class Bin:
    """Images whose most probable class has a probability of ``low`` to ``high``.

    Attributes:
        low: Lower end, 0..1.
        high: Upper end.
        images: How many.
        confidence: Mean of their probabilities.
        accuracy: Share of them that are right.
        interval: 95 % interval of that (Wilson 1927).
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from what they say.

    Attributes:
        temperature: What logits were divided by.
        fitted_on: Validation images that the temperature was fitted on; 0 if it was not.
        ece: Expected calibration error: mean distance of probability and share that is right, 0..1.
        ece_before: The same without the temperature.
        ece_noise: What it would be, in the mean, of as many images if the probabilities were honest: chance alone.
        bins: Those that have images, least sure first.
    """

    temperature: float
    fitted_on: int
    ece: float
    ece_before: float
    ece_noise: float
    bins: tuple[Bin, ...]

    def sentence(self) -> str:
        """Say it to people."""
        said = f"Probabilities are {self.ece:.1%} off in the mean (chance alone makes {self.ece_noise:.1%})"
        if self.fitted_on:
            images = f"{self.fitted_on:,} validation images"
            return f"{said}, {self.ece_before:.1%} without the temperature of {self.temperature:.2f} from {images}."
        return f"{said}; no temperature was fitted: a fine-tuning does that from {LEAST_IMAGES} validation images on."


def calibrate(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Fit the temperature to logits (n, classes) of validation images with labels (n,)."""
    if len(labels) < LEAST_IMAGES:
        return Calibration(1.0, len(labels))
    return Calibration(fit_temperature(logits, labels), len(labels))


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Minimise the mean cross-entropy of logits (n, classes) over the temperature; it is convex in one over it.

    A share of each label is spread over all classes, as Platt 1999 does it: where all n images are right, that does not
    mean that the next is for certain.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    wide = logits.astype(np.float64)
    rows, spread = np.arange(len(labels)), 1 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        scaled = wide * math.exp(-log_temperature)
        target = (1 - spread) * scaled[rows, labels] + spread * scaled.mean(axis=1)
        return float((logsumexp(scaled, axis=1) - target).mean())

    end = math.log(MOST)
    found = minimize_scalar(loss, bounds=(-end, end), method="bounded", options={"xatol": 1e-4})
    return round(math.exp(found.x), 4)


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Compute the probabilities of logits (n, classes)."""
    import numpy as np
    from scipy.special import softmax as of_scipy

    chances: NDArray[np.float32] = of_scipy(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)
    return chances


def calibration_error(chances: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Compute the expected calibration error of probabilities (n, classes), 0..1."""
    return _error(reliability_bins(chances, labels))


def measure_reliability(
    logits: NDArray[np.float32], labels: NDArray[np.int64], calibration: Calibration | None
) -> Reliability:
    """Compare probabilities with how often they are right, before and after the temperature.

    Args:
        logits: (n, classes).
        labels: (n,).
        calibration: What the card says; None: a network that was written before there was any.
    """
    temperature = calibration.temperature if calibration else 1.0
    chances = softmax(logits, temperature)
    bins = reliability_bins(chances, labels)
    return Reliability(
        temperature,
        calibration.images if calibration and calibration.fitted else 0,
        _error(bins),
        calibration_error(softmax(logits, 1.0), labels),
        _noise(chances),
        bins,
    )


def reliability_bins(chances: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[Bin, ...]:
    """Sort images by the probability of their most probable class into bins of equal width; leave out empty ones."""
    return _bins(chances.max(axis=1), chances.argmax(axis=1) == labels)


def _noise(chances: NDArray[np.float32]) -> float:
    """Average the error over draws of what is right by the probabilities themselves."""
    import numpy as np

    sure, rng = chances.max(axis=1), np.random.default_rng(0)
    return float(np.mean([_error(_bins(sure, rng.random(len(sure)) < sure)) for _ in range(DRAWS)]))


def _bins(sure: NDArray[np.float32], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    import numpy as np

    from nns.finetuning.measures import wilson

    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    found = []
    for number in np.unique(places):
        here = places == number
        count, hits = int(here.sum()), int(right[here].sum())
        mean = float(sure[here].mean())
        low, high = float(number) / BINS, float(number + 1) / BINS
        found.append(Bin(low, high, count, mean, hits / count, wilson(hits, count)))
    return tuple(found)


def _error(bins: tuple[Bin, ...]) -> float:
    return sum(each.images * abs(each.confidence - each.accuracy) for each in bins) / sum(each.images for each in bins)
