"""Choosing the next pairs of dataset and architecture to train.

Source: Jeong et al., "Task-Adaptive Neural Network Search with Meta-Contrastive Learning", NeurIPS 2021: a surrogate
predicts the accuracy of pairs that are not trained yet, and pairs are drawn in proportion to what they are expected
to add to the normalised volume under the Pareto curve of their dataset.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from nns.building.selection.surrogate import Surrogate
from nns.building.selection.volume import Volume

FloatArray = NDArray[np.float64]
Pair = tuple[int, int]
"""Index of a dataset and index of an architecture."""

SHARPNESS = 8
"""Power of the expected gain to which draws are proportional. The paper has 1, which takes more pairs."""


class PairSelector(ABC):
    """Proposes pairs in rounds.

    The same results, pairs taken and round give the same proposal, whoever trains the pairs and in whatever order;
    the proposal of fewer pairs is the beginning of that of more.

    Args:
        datasets: Number of datasets.
        architectures: Number of architectures.
        seed: Of the draws.
    """

    def __init__(self, datasets: int, architectures: int, seed: int) -> None:
        """Lay out the table of pairs."""
        self.shape = datasets, architectures
        self.seed = seed

    @abstractmethod
    def choose(self, number: int, count: int, known: Mapping[Pair, float], taken: Collection[Pair]) -> list[Pair]:
        """Propose pairs.

        Args:
            number: Number of the round, from 0 on.
            count: Pairs at most.
            known: Accuracies of trained pairs, 0..1.
            taken: Pairs that were proposed before.

        Returns:
            Pairs that are not taken; fewer than ``count`` if no more are left.
        """


class InOrder(PairSelector):
    """All pairs, dataset by dataset."""

    def choose(self, number: int, count: int, known: Mapping[Pair, float], taken: Collection[Pair]) -> list[Pair]:
        """Propose the next ones."""
        gone = set(taken)
        return [pair for pair in np.ndindex(*self.shape) if pair not in gone][:count]


class AtRandom(PairSelector):
    """Pairs at random, the same number for each dataset as long as there are any."""

    def __init__(self, datasets: int, architectures: int, seed: int) -> None:
        """Draw the order of all pairs."""
        super().__init__(datasets, architectures, seed)
        rng = np.random.default_rng([seed, 0])
        orders = [rng.permutation(architectures) for _ in range(datasets)]
        self.order = [
            (int(d), int(orders[d][turn])) for turn in range(architectures) for d in rng.permutation(datasets)
        ]

    def choose(self, number: int, count: int, known: Mapping[Pair, float], taken: Collection[Pair]) -> list[Pair]:
        """Propose the next ones in the order drawn."""
        gone = set(taken)
        return [pair for pair in self.order if pair not in gone][:count]


class ByGain(AtRandom):
    """Pairs in proportion to their expected gain in volume under the Pareto curve of their dataset.

    Args:
        datasets: Descriptors of the datasets, (D, any).
        architectures: Descriptors of the architectures, (A, any).
        costs: Costs of the architectures, (A, kinds): parameters, and further ones that count.
        seed: Of the draws.
    """

    def __init__(self, datasets: FloatArray, architectures: FloatArray, costs: FloatArray, seed: int = 0) -> None:
        """Store what is known of datasets and architectures."""
        super().__init__(len(datasets), len(architectures), seed)
        self.surrogate = Surrogate(datasets, architectures, seed)
        self.volume = Volume.of(np.asarray(costs, np.float64))

    def choose(self, number: int, count: int, known: Mapping[Pair, float], taken: Collection[Pair]) -> list[Pair]:
        """Fit the surrogate and draw; what is taken and not known yet counts as what it is expected to reach.

        As long as nothing is known, pairs are drawn at random.
        """
        if not known:
            return super().choose(number, count, known, taken)
        rng = np.random.default_rng([self.seed, number])
        mean, deviation = self._predict(known)
        curves = [self._curve(d, known) for d in range(self.shape[0])]
        free = np.ones(self.shape, bool)
        for d, a in taken:
            free[d, a] = False
            if (d, a) not in known:
                self._expect(curves[d], a, mean[d, a])
        gains = np.stack([self.volume.expected_gain(c, m, s) for c, m, s in zip(curves, mean, deviation, strict=True)])
        gains[~free] = 0
        chosen: list[Pair] = []
        while len(chosen) < count and gains.max() > 0:
            weights = (gains.ravel() / gains.max()) ** SHARPNESS
            d, a = divmod(int(rng.choice(gains.size, p=weights / weights.sum())), self.shape[1])
            chosen.append((d, a))
            free[d, a] = False
            self._expect(curves[d], a, mean[d, a])
            gains[d] = np.where(free[d], self.volume.expected_gain(curves[d], mean[d], deviation[d]), 0)
        # where nothing is expected of any that is left
        return chosen + super().choose(number, count - len(chosen), known, [*taken, *chosen])

    def _predict(self, known: Mapping[Pair, float]) -> tuple[FloatArray, FloatArray]:
        """Return mean and deviation of the accuracy of every pair, (D, A) each."""
        pairs = np.array(sorted(known), np.int64)
        self.surrogate.fit(pairs, np.array([known[int(d), int(a)] for d, a in pairs]))
        every = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), axis=-1).reshape(-1, 2)
        mean, deviation = self.surrogate.predict(every)
        return mean.reshape(self.shape), deviation.reshape(self.shape)

    def _expect(self, curve: FloatArray, architecture: int, accuracy: float) -> None:
        np.maximum(curve, np.where(self.volume.within[architecture], accuracy, 0.0), out=curve)

    def _curve(self, dataset: int, known: Mapping[Pair, float]) -> FloatArray:
        found = [(a, accuracy) for (d, a), accuracy in known.items() if d == dataset]
        return self.volume.curve([a for a, _ in found], [accuracy for _, accuracy in found])


class Rounds:
    """Which pairs have been proposed, and which come next.

    A round is chosen from the results of all rounds but the one before it. That one may still be running, so that
    no worker waits, and what is chosen does not depend on how far it has come.

    Args:
        chooser: What chooses.
        size: Pairs of a round.
        budget: Pairs in all.
    """

    def __init__(self, chooser: PairSelector, size: int, budget: int) -> None:
        """Begin with no round."""
        self.chooser, self.size, self.budget = chooser, size, budget
        self.rounds: list[list[Pair]] = []
        self._results: dict[Pair, float | None] = {}

    def record(self, pair: Pair, accuracy: float | None) -> None:
        """Note the accuracy of a pair, or None if it failed."""
        self._results[pair] = accuracy

    @property
    def succeeded(self) -> int:
        """Pairs that have an accuracy."""
        return sum(accuracy is not None for accuracy in self._results.values())

    def known(self, rounds: int) -> dict[Pair, float]:
        """Return the accuracies that the first ``rounds`` rounds came to."""
        found = ((pair, self._results.get(pair)) for each in self.rounds[: max(0, rounds)] for pair in each)
        return {pair: accuracy for pair, accuracy in found if accuracy is not None}

    def advance(self) -> list[tuple[int, list[Pair]]]:
        """Choose as many rounds as the results so far allow; give the number of each and its pairs."""
        fresh: list[tuple[int, list[Pair]]] = []
        taken = [pair for each in self.rounds for pair in each]
        while len(taken) < self.budget and self._is_complete(len(self.rounds) - 1):
            number = len(self.rounds)
            count = min(self.size, self.budget - len(taken))
            pairs = self.chooser.choose(number, count, self.known(number - 1), taken)
            if not pairs:
                break
            self.rounds.append(pairs)
            taken += pairs
            fresh.append((number, pairs))
        return fresh

    def _is_complete(self, rounds: int) -> bool:
        return all(pair in self._results for each in self.rounds[: max(0, rounds)] for pair in each)
